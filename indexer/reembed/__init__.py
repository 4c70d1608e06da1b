"""A change of model: a new generation is filled from the originals, compared with the old one, and activated."""
