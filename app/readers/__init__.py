"""Processes that answer what only reads, beside the one that writes; docs/adr/0024-readers.md says how."""
