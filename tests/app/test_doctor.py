"""`sightline doctor`: what it finds, and that it says so by its exit status."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli import examination
from indexer.collections import Collections
from indexer.stores.database import SCHEMA_VERSION
from indexer.types import NewItem
from models.store import ModelStore
from tests.app.conftest import Run
from tests.fakes import FakeEncoder

Doctor = Callable[..., Any]


@pytest.fixture
def doctor(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Run it on a folder; the checks by name, and the exit status. The model is not run."""
    monkeypatch.setattr(examination, "_open", lambda _: FakeEncoder())

    def ask(*arguments: object) -> Any:
        ran = run("doctor", "--json", "--data-dir", tmp_path / "data", *arguments)
        checks = {check["name"]: check for check in ran.json["checks"]}
        assert (ran.code == 0) is ran.json["ok"] is all(check["ok"] for check in checks.values())
        return checks

    return ask


@pytest.fixture
def fill(tmp_path: Path) -> Callable[[str], None]:
    """Make a data folder, embedded by a model of this fingerprint."""

    def fill(fingerprint: str) -> None:
        with Collections(tmp_path / "data", lambda _: FakeEncoder(fingerprint=fingerprint)) as collections:
            collection = collections.get("default")
            collection.upsert([NewItem("a", text="red"), NewItem("b", text="blue")])
            collection.compact()

    return fill


@pytest.fixture
def fingerprint(tmp_path: Path) -> str:
    """The embedded model's."""
    return ModelStore(tmp_path).manifest("default").fingerprint


def test_without_a_folder_all_is_well(doctor: Doctor, tmp_path: Path) -> None:
    checks = doctor()

    assert all(check["ok"] for check in checks.values())
    assert f"none in {tmp_path / 'data'}" in checks["catalogue"]["detail"]
    assert checks["versions"]["facts"]["numpy"]
    assert checks["model parity"]["facts"]["exported"].keys() == {"image", "text"}
    assert checks["limits"]["facts"]["max_body_bytes"] == 64 * 2**20


def test_it_tells_what_a_folder_holds(doctor: Doctor, fill: Callable[[str], None], fingerprint: str) -> None:
    fill(fingerprint)

    checks = doctor()

    assert checks["catalogue"]["facts"] == {"schema": SCHEMA_VERSION, "current": SCHEMA_VERSION, "in_use": False}
    assert checks["collection default"]["facts"]["items"] == 2
    index = checks["index of default"]["facts"]
    assert (index["segments"], index["built_vectors"], index["bytes"] > 0) == (1, 2, True)
    assert checks["jobs"]["detail"] == "none"
    assert checks["keys"]["facts"] == {"made": 0, "revoked": 0}


def test_it_counts_the_keys(doctor: Doctor, run: Run, tmp_path: Path) -> None:
    folder = ("--data-dir", tmp_path / "data")
    first, _ = (run("keys", "create", "--json", *folder).json for _ in range(2))
    run("keys", "revoke", first["id"], *folder)

    assert doctor()["keys"]["detail"] == "2, 1 of them revoked"


def test_it_finds_a_collection_whose_model_is_gone(doctor: Doctor, fill: Callable[[str], None]) -> None:
    fill("e" * 64)

    checks = doctor()

    assert not checks["collection default"]["ok"]
    assert "sightline reembed --collection default" in checks["collection default"]["detail"]


def test_it_sees_a_server_and_does_not_disturb_it(
    doctor: Doctor, fill: Callable[[str], None], fingerprint: str, tmp_path: Path
) -> None:
    fill(fingerprint)
    with Collections(tmp_path / "data", lambda _: FakeEncoder(fingerprint=fingerprint)) as collections:
        checks = doctor()
        collections.get("default").upsert([NewItem("c", text="green")])

    assert checks["catalogue"]["facts"]["in_use"]


@pytest.mark.parametrize(("version", "ok"), [(1, False), (2, True), (99, False)])
def test_it_finds_catalogues_that_cannot_be_opened(
    doctor: Doctor, fill: Callable[[str], None], fingerprint: str, tmp_path: Path, version: int, ok: bool
) -> None:
    fill(fingerprint)
    connection = sqlite3.connect(tmp_path / "data" / "catalogue.db")
    connection.execute(f"PRAGMA user_version={version}")
    connection.close()

    assert doctor()["catalogue"]["ok"] is ok


def test_it_finds_a_damaged_catalogue(
    doctor: Doctor, fill: Callable[[str], None], fingerprint: str, tmp_path: Path
) -> None:
    fill(fingerprint)
    (tmp_path / "data" / "catalogue.db").write_bytes(b"nonsense" * 1000)

    assert not doctor()["catalogue"]["ok"]


def test_it_finds_a_disk_that_is_nearly_full(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_MIN_FREE_BYTES", str(shutil.disk_usage("/").total * 1000))

    assert not doctor()["disk"]["ok"]


def test_it_finds_an_encoder_whose_batches_differ(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    class Drifting(FakeEncoder):
        def encode_texts(self, texts: Any) -> Any:
            found = super().encode_texts(texts)
            return found if len(texts) == 1 else found._replace(vectors=found.vectors[::-1])

    monkeypatch.setattr(examination, "_open", lambda _: Drifting())

    assert not doctor()["model parity"]["ok"]
