"""The columns of a catalogue, as the command line tells them."""

from collections.abc import Mapping
from typing import Any


def describe_columns(mapping: Mapping[str, Any]) -> str:
    """Which column holds what: `id from sku; text from title`."""
    parts = {role: mapping.get(role) for role in ("id", "image", "text")}
    parts["metadata"] = ", ".join(mapping.get("metadata") or ())
    return "; ".join(f"{role} from {column}" for role, column in parts.items() if column) or "rows by their numbers"
