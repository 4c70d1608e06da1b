"""Catalogues go in: reached, read, fetched, decoded, embedded, written."""
