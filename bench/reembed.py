"""A change of model under searches and writes: what they notice of it, and how fast it is.

`python -m bench.reembed [CATALOGUE.csv [MODEL_FOLDER ...]]`: a catalogue of pictures and titles, else a drawn one; the
models to change to, one after the other, else the embedded one with another resize, which is another fingerprint.
"""

import csv
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

from app.encoders import Encoders
from app.sample.catalogue import draw_sample
from app.settings import Settings
from bench.load import COLLECTION, Load, Sent, apply_load, print_latencies
from bench.serving import end, server
from indexer.collections import Collections
from indexer.ingest.pipeline import CHUNK_ROWS
from models.encoder import DualEncoder
from models.imaging import ImageLimits, decode_image
from models.manifest import MANIFEST
from models.store import EMBEDDED, ModelStore

ITEMS = 3000
"""Of the drawn catalogue."""
SAMPLE = 512
"""Items that the encoder embeds by itself."""
QUIET_S = 40.0
SEARCHES_PER_S, WRITES_PER_S, PROBES_PER_S = 6.0, 1.0, 1.0
"""What leaves room on two cores that others use, too; a probe is a search whose vectors are looked at."""
MIB = 2**20


class Item(NamedTuple):
    """A product."""

    picture: Path
    text: str


class Change(NamedTuple):
    """What was seen of one change of model."""

    job: dict[str, Any]
    quiet: list[Sent]
    during: list[Sent]
    memory: list[int]


def run(catalogue: Path | None = None, *targets: Path) -> None:
    """Print what each change was like."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalogue = catalogue or drawn(folder)
        models = _add_models(folder / "data" / "models", targets)
        items = read(catalogue)
        for model in models:
            _measure(folder, catalogue, items, model)
            shutil.rmtree(folder / "data" / "index", ignore_errors=True)
            for file in (folder / "data").glob("catalogue.db*"):
                file.unlink()


def _measure(folder: Path, catalogue: Path, items: Sequence[Item], model: str) -> None:
    """Ingest with the embedded model, and change to another one."""
    with server(folder / "data", catalogue.parent) as (url, process_id):
        client = httpx.Client(base_url=url, timeout=120)
        job = client.post(f"{COLLECTION}/ingest", json={"source": str(catalogue)}).raise_for_status().json()
        end(client, job)
        change = _change(client, url, process_id, items, model)
        after = _drop_old(client, process_id)
    problems = _problems(folder, change)
    alone, decoding = _raw(folder, items, model)
    _report(model, change, after, problems, alone, decoding)


def _change(client: httpx.Client, url: str, process_id: int, items: Sequence[Item], model: str) -> Change:
    load = Load(
        url,
        [item.text for item in items[:1000]],
        [item.picture.read_bytes() for item in items[:200]],
        SEARCHES_PER_S,
        WRITES_PER_S,
        PROBES_PER_S,
    )
    memory = [_memory(process_id)]
    with apply_load(load) as sent:
        time.sleep(QUIET_S)
        begun = time.time()
        job = client.post(f"{COLLECTION}/reembed", json={"model": model}).raise_for_status().json()
        while job["state"] in ("queued", "running"):
            time.sleep(0.5)
            memory.append(_memory(process_id))
            job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
        ended = time.time()
        time.sleep(1)  # searches that began before
    if job["state"] != "succeeded":
        raise SystemExit(f"the job {job['state']}: {job['error']}")
    warm = begun - QUIET_S * 0.75
    return Change(
        job,
        [one for one in sent if warm < one.due < begun - 1],
        [one for one in sent if begun <= one.due < ended],
        memory,
    )


def _drop_old(client: httpx.Client, process_id: int) -> int:
    """Memory once the model before is not needed any more; its vectors stay for what is looked up in them."""
    time.sleep(5)
    client.get("/v1/collections").raise_for_status()
    return _memory(process_id)


# What must not happen


def _problems(folder: Path, change: Change) -> dict[str, int]:
    """How often it did: failed requests, answers that mix generations, writes that are gone, a wrong index."""
    sent = [*change.quiet, *change.during]
    vectors = _stored_vectors(folder)
    with closing(sqlite3.connect(folder / "data" / "catalogue.db")) as database:
        texts = dict(database.execute("SELECT id, text FROM items"))
        active = database.execute("SELECT active_generation FROM collections").fetchone()[0]
    written = [one.answer for one in sent if one.kind == "write" and 200 <= one.status < 300]
    has = {(id_, modality) for generation, id_, modality in vectors if generation == active}
    with Collections(folder / "data", _encoders(folder)) as collections:
        differences = collections.get("default").verify()
    return {
        "requests sent": len(sent),
        "failed": sum(not 200 <= one.status < 300 for one in sent),
        "answers looked at": sum(one.kind == "probe" for one in sent),
        "with vectors of another generation": sum(_is_mixed(one, vectors) for one in sent),
        "writes acknowledged": len(written),
        "missing, or without vectors": sum(
            texts.get(one["id"]) != one["text"] or not {(one["id"], "image"), (one["id"], "text")} <= has
            for one in written
        ),
        "differences of index and catalogue": len(differences),
    }


def _stored_vectors(folder: Path) -> dict[tuple[int, str, str], bytes]:
    """By the generation's number, the item and the modality."""
    query = """SELECT number, id, modality, vector FROM vectors
        JOIN items ON items.pk = item_pk JOIN generations ON generations.pk = generation_pk"""
    with closing(sqlite3.connect(folder / "data" / "catalogue.db")) as database:
        return {(number, id_, modality): vector for number, id_, modality, vector in database.execute(query)}


def _is_mixed(one: Sent, vectors: dict[tuple[int, str, str], bytes]) -> bool:
    """Whether any vector of an answer is not that of the generation that it names."""
    return any(
        np.asarray(vector, dtype="<f2").tobytes() != vectors.get((one.answer["generation"], id_, modality))
        for id_, found in one.answer.get("vectors", {}).items()
        for modality, vector in found.items()
    )


# The encoder by itself


def _raw(folder: Path, items: Sequence[Item], model: str) -> tuple[float, float]:
    """Items per second of a model with pictures ready for its graph, and with pictures decoded and resized before."""
    encoder = _encoders(folder)(model)
    assert isinstance(encoder, DualEncoder)
    sample = [items[number] for number in np.random.default_rng(0).permutation(len(items))[:SAMPLE]]
    encode_s = decode_s = 0.0
    encoder.encode_pixels([np.zeros((*encoder.manifest.preprocessing.size, 3), dtype=np.uint8)])
    for start in range(0, len(sample), CHUNK_ROWS):
        chunk = sample[start : start + CHUNK_ROWS]
        begun = time.perf_counter()
        pictures = [decode_image(item.picture.read_bytes(), ImageLimits(), encoder.enough) for item in chunk]
        pixels = [encoder.preprocess(picture) for picture in pictures]
        decoded = time.perf_counter()
        encoder.encode_pixels(pixels)
        encoder.encode_texts([item.text for item in chunk])
        decode_s += decoded - begun
        encode_s += time.perf_counter() - decoded
    return len(sample) / encode_s, len(sample) / decode_s


# The server


def _encoders(folder: Path) -> Encoders:
    return Encoders(Settings(data_dir=folder / "data", query_cache_size=0), ModelStore(folder / "data" / "models"))


def _memory(process_id: int) -> int:
    """Bytes that are its own, without files that are mapped."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


# What is embedded, and by what


def drawn(folder: Path) -> Path:
    """A catalogue that Sightline draws."""
    (folder / "shop").mkdir()
    return draw_sample(folder / "shop", items=ITEMS)


def read(catalogue: Path) -> list[Item]:
    """The products of a catalogue."""
    with catalogue.open(newline="", encoding="utf-8") as file:
        return [Item(catalogue.parent / row["image"], row["title"]) for row in csv.DictReader(file)]


def _add_models(models: Path, targets: Sequence[Path]) -> list[str]:
    """Install them; gives their names."""
    for target in targets:
        shutil.copytree(target, models / target.name)
    if targets:
        return [target.name for target in targets]
    shutil.copytree(EMBEDDED, models / "bilinear")
    manifest = json.loads((EMBEDDED / MANIFEST).read_text())
    manifest["preprocessing"]["interpolation"] = "bilinear"
    (models / "bilinear" / MANIFEST).write_text(json.dumps(manifest))
    return ["bilinear"]


# Figures


def _report(model: str, change: Change, after: int, problems: dict[str, int], alone: float, decoding: float) -> None:
    progress, report = change.job["progress"], change.job["report"]
    print(
        f"\nRe-embedding {progress['done']:,} items from default to {model} under {SEARCHES_PER_S:.0f} searches/s and "
        f"{WRITES_PER_S:.0f} writes/s; {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
    )
    for one in [one for one in (*change.quiet, *change.during) if not 200 <= one.status < 300][:5]:
        print(f"failed: {one.kind} {one.status} {one.answer}")
    for name, count in problems.items():
        print(f"{name:<48}{count:>8,}")
    print_latencies(change.quiet, change.during)
    print(f"{'items/s':<24}{'job':>12}{'encoder':>12}{'decoding':>12}{'job/encoder':>12}")
    per_second = progress["per_second"]
    print(f"{'':<24}{per_second:>12.0f}{alone:>12.0f}{decoding:>12.0f}{per_second / alone:>12.0%}")
    before, *meanwhile = change.memory
    print(f"own memory, MiB: {before / MIB:.0f} before, {max(meanwhile) / MIB:.0f} at most, {after / MIB:.0f} after")
    print(f"overlap@10 of both generations: {report['overlap_at_10']:.2f}", flush=True)


if __name__ == "__main__":
    run(*map(Path, sys.argv[1:]))
