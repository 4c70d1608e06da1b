"""`sightline snapshot`, beside a server that runs."""

from pathlib import Path

import pytest

from app.encoders import Encoders
from tests.app.conftest import Run
from tests.fakes import FakeEncoder
from tests.pictures import picture


@pytest.fixture
def shop(run: Run, server_url: str, tmp_path: Path) -> Path:
    """A running server's data folder, with two pictures in it."""
    (tmp_path / "shop").mkdir()
    for colour in ("red", "blue"):
        (tmp_path / "shop" / f"{colour}.png").write_bytes(picture(colour))
    assert run("ingest", tmp_path / "shop", "--url", server_url).code == 0
    return tmp_path / "data"


def test_a_served_folder_is_backed_up_and_restored(
    run: Run, shop: Path, tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = run("snapshot", "create", tmp_path / "monday", "--data-dir", shop)
    restored = run("snapshot", "restore", tmp_path / "monday", "--data-dir", tmp_path / "new")

    assert (created.code, created.out) == (0, f"{tmp_path}/monday: 2 items and 2 pictures\n")
    assert "Catalogue" in created.err
    assert restored.code == 0
    assert restored.out.startswith(f"{tmp_path}/new: 2 items and 2 pictures, as of 20")
    assert "Restoring" in restored.err
    monkeypatch.setattr(Encoders, "__call__", lambda self, name: encoder)
    assert run("index", "verify", "--data-dir", tmp_path / "new").code == 0


def test_pictures_may_stay_where_they_are(run: Run, shop: Path, tmp_path: Path) -> None:
    created = run("snapshot", "create", tmp_path / "monday", "--data-dir", shop, "--originals", "reference")

    assert (created.code, f"which stay in {shop}" in created.out) == (0, True)
    assert not (tmp_path / "monday" / "originals").exists()
    assert run("snapshot", "restore", tmp_path / "monday", "--data-dir", tmp_path / "new").code == 0


def test_lost_pictures_are_named(run: Run, shop: Path, tmp_path: Path) -> None:
    lost = next(path for path in (shop / "originals").rglob("*") if path.is_file())
    lost.unlink()

    created = run("snapshot", "create", tmp_path / "monday", "--data-dir", shop)

    assert (created.code, lost.name in created.err) == (0, True)
    assert "1 pictures are lost or damaged" in created.err
    assert created.out.endswith(": 2 items and 1 pictures\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("create", "shop", "--data-dir", "data"), "shop is not empty"),
        (("create", "monday", "--data-dir", "nothing"), "nothing is no data folder"),
        (("restore", "nothing", "--data-dir", "new"), "snapshot.json is missing"),
        (("restore", "nothing", "--data-dir", "data"), "snapshot.json is missing"),
        (("create", "s3://", "--data-dir", "data"), "s3:// is no place in an object store"),
        (("restore", "s3://shop/../a", "--data-dir", "new"), "s3://shop/../a is no place in an object store"),
    ],
)
def test_what_cannot_be_done_is_one_line(run: Run, shop: Path, arguments: tuple[str, ...], reason: str) -> None:
    ran = run("snapshot", *arguments)

    said = ran.err.strip().splitlines()
    assert ran.code == 1
    assert reason in said[-1]
    assert not any("Traceback" in line for line in said)


def test_wrong_usage_exits_with_2(run: Run) -> None:
    assert run("snapshot", "create").code == 2
    assert run("snapshot", "create", "a", "--originals", "forget").code == 2
