"""Sightline beside its peers: same machine, weights, pictures, texts and clients."""
