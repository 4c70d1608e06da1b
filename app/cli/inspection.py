"""What a data folder holds, read without opening it: a server may run on it, and an older one may have made it."""

import fcntl
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexer.stores.database import CATALOGUE, READABLE_VERSIONS, SCHEMA_VERSION
from models.errors import ModelError
from models.store import ModelStore

_ACTIVE = """
SELECT c.pk, c.name, g.pk AS generation_pk, g.model, g.fingerprint,
       (SELECT count(*) FROM items WHERE collection_pk = c.pk) AS items,
       (SELECT count(*) FROM vectors WHERE generation_pk = g.pk) AS vectors
FROM collections c JOIN generations g ON g.collection_pk = c.pk AND g.number = c.active_generation ORDER BY c.name
"""


@dataclass(frozen=True)
class Check:
    """One thing looked at; `facts` are for machines."""

    name: str
    ok: bool
    detail: str
    facts: dict[str, Any] = field(default_factory=dict)


def inspect(data_dir: Path, store: ModelStore) -> Iterator[Check]:
    """The catalogue, its collections with their models and indexes, its jobs and keys.

    Raises:
        sqlite3.Error: The catalogue cannot be read.
    """
    path = data_dir / CATALOGUE
    if not path.exists():
        yield Check("catalogue", True, f"none in {data_dir.resolve()}: nothing is stored there", {"schema": None})
        return
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        yield _schema(version, in_use=_is_locked(data_dir / "lock"))
        if version in READABLE_VERSIONS:
            for row in connection.execute(_ACTIVE).fetchall():
                yield _collection(row, store)
                yield _index(row, data_dir / "index" / str(row["pk"]) / str(row["generation_pk"]))
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            for table, count in {"jobs": _jobs, "keys": _keys}.items():
                if table in tables:  # older versions lack them
                    yield count(connection)


def _schema(version: int, *, in_use: bool) -> Check:
    states = {True: "brought up to date when it is opened", False: "not of a version that can be read"}
    state = "current" if version == SCHEMA_VERSION else states[version in READABLE_VERSIONS]
    where = "a server has it open" if in_use else "no server has it open"
    facts = {"schema": version, "current": SCHEMA_VERSION, "in_use": in_use}
    return Check("catalogue", version in READABLE_VERSIONS, f"schema {version}, {state}; {where}", facts)


def _collection(row: sqlite3.Row, store: ModelStore) -> Check:
    problem = _absence(row, store)
    detail = f"{row['items']:,} items, {row['vectors']:,} vectors of model {row['model']} {row['fingerprint'][:12]}"
    if problem:
        detail += f"; {problem}: bring it back, or `sightline reembed --collection {row['name']} --model ...`"
    facts = {name: row[name] for name in ("items", "vectors", "model", "fingerprint")}
    return Check(f"collection {row['name']}", problem is None, detail, facts | {"model_present": problem is None})


def _absence(row: sqlite3.Row, store: ModelStore) -> str | None:
    """Why a collection's model is not there; None where it is."""
    try:
        fingerprint = store.manifest(row["model"]).fingerprint
    except ModelError as error:
        return error.detail
    return None if fingerprint == row["fingerprint"] else f"the installed one has {fingerprint[:12]}"


def _index(row: sqlite3.Row, folder: Path) -> Check:
    headers = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*/*/segment.json")]
    built, size = sum(header["count"] for header in headers), sum(p.stat().st_size for p in folder.glob("*/*/*"))
    detail = (
        f"{len(headers)} built segments with {built:,} vectors, {size / 2**20:.1f} MiB; `index verify` compares them"
    )
    facts = {"segments": len(headers), "built_vectors": built, "bytes": size}
    return Check(f"index of {row['name']}", True, detail, facts)


def _jobs(connection: sqlite3.Connection) -> Check:
    counts = dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
    told = ", ".join(f"{number:,} {state}" for state, number in sorted(counts.items()))
    return Check("jobs", True, told or "none", counts)


def _keys(connection: sqlite3.Connection) -> Check:
    made, revoked = connection.execute("SELECT count(*), count(revoked_at) FROM keys").fetchone()
    told = f"{made:,}, {revoked:,} of them revoked" if made else "none"
    return Check("keys", True, told, {"made": made, "revoked": revoked})


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
