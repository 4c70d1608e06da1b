"""Reading the items of hits: one statement for all pages that are answered together, and one row for each item."""

import json
from collections.abc import Sequence

from indexer.stores.database import Database
from indexer.types import FoundItem

_OWN = "SELECT {what} FROM vectors WHERE item_pk = items.pk AND generation_pk = :generation_pk"
# CROSS JOIN is how SQLite is told to begin with the keys.
_FOUND = """
    SELECT items.pk, items.id, items.text, items.metadata, items.image_sha256, {image}, {text}
    FROM json_each(:pks) AS asked CROSS JOIN items ON items.pk = asked.value
"""
_WITHOUT_VECTORS = _FOUND.format(image="NULL", text="NULL")
_WITH_VECTORS = (
    _FOUND.format(
        **{modality: f"({_OWN.format(what='vector')} AND modality = '{modality}')" for modality in ("image", "text")}
    )
    + f"WHERE EXISTS ({_OWN.format(what='1')})"
)


def find_items(
    database: Database, generation_pk: int, pks: Sequence[int], *, with_vectors: bool = True
) -> dict[int, FoundItem]:
    """The items with these primary keys, as they are at one moment.

    Args:
        with_vectors: Read their vectors of the generation, too, and leave out those that have none any more.
    """
    statement = _WITH_VECTORS if with_vectors else _WITHOUT_VECTORS
    rows = database.rows(statement, {"pks": json.dumps(sorted(pks)), "generation_pk": generation_pk})
    return {row[0]: FoundItem._make(row) for row in rows}
