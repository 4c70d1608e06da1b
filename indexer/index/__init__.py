"""Vectors in segments, searched exactly; a function of the catalogue."""
