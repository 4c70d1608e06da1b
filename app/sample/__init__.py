"""The sample catalogue: product pictures that Sightline draws itself, so that the demo needs no download."""

from app.sample.catalogue import draw_sample

__all__ = ["draw_sample"]
