"""A disk that is full, or cannot be written to: clear errors, no loss, and all goes on when it is well again."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from models.manifest import MANIFEST, read_manifest
from models.store import EMBEDDED
from tests.faults.disks import read_only, small_disk
from tests.faults.processes import TIMEOUT_S, Process, start
from tests.hostile_pictures import encode

ITEMS = "/v1/collections/default/items"
INGEST = "/v1/collections/default/ingest"
SEARCH = "/v1/collections/default/search"
COLLECTION = "/v1/collections/default"
REEMBED = f"{COLLECTION}/reembed"
ROWS = 3000
TOO_SMALL_MIB, LARGE_MIB = 6, 64
"""Disks that cannot hold what becomes of so many rows, and that can."""


class Servers:
    """Servers on one data folder, one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.disk, self.data = folder, folder / "disk", folder / "disk" / "data"
        self.processes: list[Process] = []
        # The disk is filled to the last byte, not to what is kept free.
        (folder / "sightline.toml").write_text(f'ingest_roots = ["{folder}"]\nmin_free_bytes = 0\n')

    def start(self, temporary: Path | None = None) -> httpx.Client:
        """The next one."""
        log = self.folder / f"server-{len(self.processes)}.log"
        self.processes.append(start(log, "serve", "--port", 0, "--data-dir", self.data, temporary=temporary))
        return httpx.Client(base_url=self.processes[-1].ready(), timeout=60)

    def verify(self) -> None:
        """Stop, and compare index and catalogue."""
        assert self.processes[-1].stop() == 0
        process = start(self.folder / "verify.log", "index", "verify", "--data-dir", self.data)
        assert process.wait() == 0, process.log.read_text()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    made = Servers(tmp_path)
    yield made
    for process in made.processes:
        process.kill()


def noise(seed: int, size: int = 100) -> bytes:
    """A picture that is hard to compress."""
    return encode(Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)))


def put(client: httpx.Client, id_: str, seed: int | None = None) -> httpx.Response:
    """Upload an item whose text is its id."""
    files = {} if seed is None else {"image": noise(seed)}
    return client.put(f"{ITEMS}/{id_}", files={"text": (None, id_), **files})


def read_job(client: httpx.Client, id_: str) -> Any:
    return client.get(f"/v1/jobs/{id_}").raise_for_status().json()


def waits(client: httpx.Client, job: str) -> bool:
    """Whether a job says that it waits for the disk."""
    return (read_job(client, job)["error"] or {}).get("code") == "storage-unavailable"


def found(client: httpx.Client, text: str) -> list[str]:
    answer = client.post(SEARCH, json={"query": text, "target": {"text": 1.0}, "limit": 1})
    return [hit["id"] for hit in answer.raise_for_status().json()["hits"]]


def write_catalogue(folder: Path, rows: int = ROWS) -> Path:
    path = folder / "catalogue.jsonl"
    path.write_text("".join(json.dumps({"id": f"row {n}", "text": f"row {n}"}) + "\n" for n in range(rows)))
    return path


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def wait_until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_refused(answer: httpx.Response) -> bool:
    """Whether the disk is given as the reason; any other answer than that and success is a fault."""
    if answer.is_success:
        return False
    assert answer.status_code == 507, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"]
    assert answer.json()["type"] == "storage-unavailable"
    return True


def refuses_to_start(servers: Servers) -> bool:
    process = start(servers.folder / "refused.log", "serve", "--port", 0, "--data-dir", servers.data)
    assert process.wait() == 1, process.log.read_text()
    said = process.log.read_text().splitlines()
    process.log.unlink()
    return len(said) == 1 and said[0].startswith("error: ")


def test_on_a_full_disk_uploads_are_refused_and_jobs_wait_until_space_returns(servers: Servers) -> None:
    with small_disk(servers.disk, TOO_SMALL_MIB) as disk, servers.start() as client:
        assert put(client, "before", seed=1).status_code == 201
        job = client.post(INGEST, json={"source": str(write_catalogue(servers.folder))}).json()["id"]
        wait_until(lambda: waits(client, job))
        disk.fill()
        assert 0 < read_job(client, job)["progress"]["done"] < ROWS

        # A little may still find room in pages that are in the database already.
        names = [f"while {number}" for number in range(20)]
        stored = [name for name in names if not is_refused(put(client, name))]
        assert len(stored) < len(names)
        assert is_refused(put(client, "picture", seed=2))
        assert is_refused(client.post(INGEST, files={"file": ("more.jsonl", bytes(2**20))}))
        assert found(client, "before") == ["before"]
        assert client.get("/readyz").status_code == 200

        disk.free()
        disk.grow(LARGE_MIB)
        wait_until(lambda: read_job(client, job)["state"] == "succeeded")
        assert read_job(client, job)["progress"]["created"] == ROWS
        assert read_job(client, job)["error"] is None
        assert put(client, "after", seed=3).status_code == 201
        assert all(found(client, name) == [name] for name in ("before", *stored, "after"))
        assert client.get("/v1/collections/default").json()["items"] == ROWS + 2 + len(stored)
        servers.verify()


def test_a_job_on_a_full_disk_outlives_a_kill_and_a_start_without_space(servers: Servers) -> None:
    with small_disk(servers.disk, TOO_SMALL_MIB) as disk:
        with servers.start() as client:
            assert put(client, "before", seed=1).status_code == 201
            job = client.post(INGEST, json={"source": str(write_catalogue(servers.folder))}).json()["id"]
            wait_until(lambda: waits(client, job))
            servers.processes[-1].kill()
        with servers.start() as client:
            wait_until(lambda: waits(client, job))
            assert found(client, "before") == ["before"]
            disk.grow(LARGE_MIB)
            wait_until(lambda: read_job(client, job)["state"] == "succeeded")
            servers.verify()


def add_model(folder: Path) -> None:
    """A second model, by its manifest: all that is read of it here."""
    folder.mkdir(parents=True)
    manifest = read_manifest(EMBEDDED)
    other = manifest.preprocessing.model_copy(update={"interpolation": "bilinear"})
    (folder / MANIFEST).write_text(manifest.model_copy(update={"preprocessing": other}).model_dump_json())


def test_a_change_of_model_waits_for_space_and_outlives_a_kill(servers: Servers) -> None:
    with small_disk(servers.disk, LARGE_MIB) as disk:
        add_model(servers.data / "models" / "new")
        with servers.start() as client:
            ingest = client.post(INGEST, json={"source": str(write_catalogue(servers.folder))}).json()["id"]
            wait_until(lambda: read_job(client, ingest)["state"] == "succeeded")
            servers.verify()  # and leave no room in the database's log
        with servers.start() as client:
            disk.grow(disk.used_mib() + 1)
            job = client.post(REEMBED, json={"model": "new"}).raise_for_status().json()["id"]
            wait_until(lambda: waits(client, job))
            assert found(client, "row 7") == ["row 7"]
            servers.processes[-1].kill()
        with servers.start() as client:
            wait_until(lambda: waits(client, job))
            disk.fill()
            assert found(client, "row 7") == ["row 7"]
            assert client.get(COLLECTION).json()["generation"] == 1

            disk.free()
            disk.grow(LARGE_MIB)
            wait_until(lambda: read_job(client, job)["state"] == "succeeded")
            info = client.get(COLLECTION).json()
            assert (info["generation"], info["model"], info["vectors"]["text"]) == (2, "new", ROWS)
            assert found(client, "row 7") == ["row 7"]
            assert client.delete(f"{COLLECTION}/generations/1").status_code == 204
            servers.verify()


def test_a_catalogue_that_finds_no_room_is_refused_and_leaves_nothing(servers: Servers) -> None:
    body = b"".join(b'{"id": "%d", "text": "thing"}\n' % number for number in range(100_000))
    with small_disk(servers.disk, 2) as disk, servers.start() as client:
        assert is_refused(client.post(INGEST, files={"file": ("large.jsonl", body)}))
        assert files(servers.data / "spool") == []
        assert client.get("/v1/jobs").json()["jobs"] == []
        disk.grow(LARGE_MIB)
        assert client.post(INGEST, files={"file": ("small.jsonl", body[:3000])}).status_code == 202


def test_uploads_are_refused_while_the_folder_for_temporary_files_is_full(servers: Servers) -> None:
    """Forms wait there until they are complete."""
    body = {"file": ("large.jsonl", b'{"id": "a", "text": "red"}\n' * 100_000)}
    picture = {"image": noise(1, size=800)}
    with small_disk(servers.folder / "temporary", 1) as disk, servers.start(disk.folder) as client:
        assert is_refused(client.post(INGEST, files=body))
        assert is_refused(client.put(f"{ITEMS}/a", files=picture))
        disk.grow(16)
        assert client.post(INGEST, files=body).status_code == 202
        assert client.put(f"{ITEMS}/a", files=picture).is_success
        servers.verify()


def test_segments_that_find_no_room_are_tried_again_and_leave_nothing(servers: Servers) -> None:
    index = servers.data / "index"
    with small_disk(index, 1) as disk, servers.start() as client:
        log = servers.processes[-1].log
        client.post(INGEST, json={"source": str(write_catalogue(servers.folder))}).raise_for_status()
        wait_until(lambda: "could not be compacted" in log.read_text())
        [job] = client.get("/v1/jobs").json()["jobs"]
        wait_until(lambda: read_job(client, job["id"])["state"] == "succeeded")
        assert found(client, "row 7") == ["row 7"]
        wait_until(lambda: not list(index.rglob("partial-*")))
        disk.grow(LARGE_MIB)

        def is_built() -> bool:
            put(client, "again")
            return bool(client.get("/v1/collections/default").json()["index"]["main"])

        wait_until(is_built)
        assert found(client, "row 7") == ["row 7"]
        servers.verify()


def test_with_a_read_only_database_searches_go_on_and_jobs_wait(servers: Servers) -> None:
    with servers.start() as client:
        assert put(client, "before", seed=1).status_code == 201
        job = client.post(INGEST, json={"source": str(write_catalogue(servers.folder))}).json()["id"]
        servers.processes[-1].kill()
    with ExitStack() as fault:
        fault.enter_context(read_only(servers.data / "catalogue.db"))
        with servers.start() as client:
            wait_until(lambda: waits(client, job))
            assert found(client, "before") == ["before"]
            assert is_refused(put(client, "while", seed=2))
            assert len(files(servers.data / "originals")) == 1
            assert is_refused(client.delete(f"{ITEMS}/before"))
            assert is_refused(client.post(INGEST, files={"file": ("more.csv", b"id,text\n1,red\n")}))
            assert files(servers.data / "spool") == []
            assert is_refused(client.post(f"/v1/jobs/{job}/cancel"))
            assert client.get(f"{ITEMS}/while").status_code == 404

            fault.close()
            wait_until(lambda: read_job(client, job)["state"] == "succeeded")
            assert put(client, "while").status_code == 201
            servers.verify()


@pytest.mark.parametrize("folder", ["originals", "spool"])
def test_a_read_only_folder_costs_only_what_needs_it(servers: Servers, folder: str) -> None:
    upload = {"file": ("more.csv", b"id,text\nrow,red\n")}
    sha256 = hashlib.sha256(noise(2)).hexdigest()
    (servers.data / folder / sha256[:2] / sha256[2:4]).mkdir(parents=True)
    with servers.start() as client:
        assert put(client, "before", seed=1).status_code == 201
        with read_only(servers.data / folder):
            assert is_refused(put(client, "picture", seed=2)) == (folder == "originals")
            assert is_refused(client.post(INGEST, files=upload)) == (folder == "spool")
            assert put(client, "text").status_code == 201
            assert put(client, "before").status_code == 200
            assert client.delete(f"{ITEMS}/before").status_code == 204
        assert put(client, "picture", seed=2).is_success
        assert client.post(INGEST, files=upload).status_code == 202
        servers.verify()


def test_a_start_without_room_or_right_to_write_says_so_in_one_line(servers: Servers) -> None:
    with small_disk(servers.disk, TOO_SMALL_MIB) as disk:
        with servers.start() as client:
            assert put(client, "before").status_code == 201
        assert servers.processes[-1].stop() == 0
        with read_only(servers.data):
            assert refuses_to_start(servers)
        disk.fill()
        assert refuses_to_start(servers)
        disk.free()
        with servers.start() as client:
            assert found(client, "before") == ["before"]
