"""Catalogues as they come, in any format, as rows of items: streamed, in bounded memory."""

from indexer.sources.finding import version
from indexer.sources.mapping import Mapping, guess_mapping
from indexer.sources.opening import read_source
from indexer.sources.rows import BadRow, ImageReference, Row, Source

__all__ = ["BadRow", "ImageReference", "Mapping", "Row", "Source", "guess_mapping", "read_source", "version"]
