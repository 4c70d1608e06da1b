"""Catalogues as they come, in any format, as rows of items: streamed, in bounded memory."""

from indexer.sources.finding import CATALOGUES, expand, files, is_shard, version
from indexer.sources.mapping import Mapping, guess_mapping
from indexer.sources.opening import read_source
from indexer.sources.places import is_picture, url_parts, without_secrets
from indexer.sources.rows import BadRow, ImageReference, Row, Source
from indexer.sources.streams import Check, unchecked

__all__ = [
    "CATALOGUES",
    "BadRow",
    "Check",
    "ImageReference",
    "Mapping",
    "Row",
    "Source",
    "expand",
    "files",
    "guess_mapping",
    "is_picture",
    "is_shard",
    "read_source",
    "unchecked",
    "url_parts",
    "version",
    "without_secrets",
]
