"""`python -m bench.peers [FOLDER]`: the tables; FOLDER holds the peers' environments and the models."""

import argparse
import tempfile
from contextlib import ExitStack
from datetime import date
from itertools import product
from pathlib import Path

from app.sample.catalogue import draw_sample
from bench.http import process
from bench.peers.contest import Inputs, Measured, Way, measure, report
from bench.peers.peers import PACKAGES, Ways, how_to_install, is_installed, started
from bench.peers.sightline import Lone, ask_alone, limits, prepare, serve, served_by_readers, tokenize, ways_of
from models.manifest import MANIFEST

FOLDER = Path.home() / ".cache" / "sightline-peers"
CLIENTS = (1, 32)
PRECISIONS = ("fp32", "int8")
DRAWN = 64
"""Different pictures."""
TOKENS = 8
WORDS = (
    ("red", "black", "blue", "green", "white", "yellow", "pink", "grey"),
    ("cotton", "leather", "wool", "silk", "denim", "velvet", "linen", "knit"),
    ("shirt", "dress", "shoes", "jacket", "hat", "bag", "coat", "skirt"),
    ("men", "women", "kids", "summer", "winter", "school", "work", "sports"),
)
BATCHES_ONLY = {"clip-retrieval", "pictures, a job"}
"""Which take one client's work in batches, and are beside many clients therefore."""
ALONE_ONLY = {"texts, one core"}
"""Which is beside one client: many have what is faster."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--items", type=int, default=100_000, help="in the collection that is searched")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--peers", nargs="*", choices=list(PACKAGES), default=list(PACKAGES))
    run(**vars(parser.parse_args()))


def run(folder: Path, items: int, rounds: int, seconds: float, peers: list[str]) -> None:
    """Print the tables: medians of rounds in which all take their turn."""
    models = {precision: folder / "models" / precision for precision in PRECISIONS}
    if missing := [str(model) for model in models.values() if not (model / MANIFEST).exists()]:
        raise SystemExit(
            f"no model in {missing}; with the train extra: python -m bench.peers.weights {folder / 'models'}"
        )
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        scratch = Path(name)
        inputs = _draw(scratch / "inputs", models["fp32"])
        index_s = {of: prepare(scratch / of, model, items) for of, model in models.items()}
        alone = {of: limits(model, inputs) for of, model in models.items()}
        by_readers = {of: stack.enter_context(served_by_readers(scratch / of, inputs)) for of in models}
        urls = {of: stack.enter_context(process(serve, scratch / of)) for of in models}
        ours = {of: ways_of(url, inputs) | by_readers[of] for of, url in urls.items()}
        theirs = {peer: stack.enter_context(started(peer, folder, inputs)) for peer in _installed(peers, folder)}
        ways = _ways(alone, ours, theirs)
        found = measure(ways, rounds, seconds)
        pictures = len(inputs.pictures)
        print(f"\n{date.today()}: medians of {rounds} rounds of {seconds:g} s, {items:,} items, {pictures} JPEGs")
        report(ways, found, set(theirs))
        _report_overhead(found, index_s, {of: ask_alone(url, inputs) for of, url in urls.items()})


def _draw(folder: Path, model: Path) -> Inputs:
    """Pictures, and texts of just as many tokens, each another one."""
    draw_sample(folder, items=DRAWN)
    (folder / "images").rename(folder / "pictures")
    drawn = [f"{colour} {stuff} {thing} for {person} shop" for colour, stuff, thing, person in product(*WORDS)]
    texts = [text for text, ids in zip(drawn, tokenize(model, drawn), strict=True) if len(ids) == TOKENS]
    (folder / "texts.txt").write_text("\n".join(texts))
    return Inputs(folder)


def _installed(peers: list[str], folder: Path) -> list[str]:
    for peer in peers:
        if not is_installed(peer, folder):
            print(f"{peer} is not installed: {how_to_install(peer, folder)}")
    return [peer for peer in peers if is_installed(peer, folder)]


def _ways(alone: dict[str, Ways], ours: dict[str, Ways], theirs: dict[str, Ways]) -> list[Way]:
    """Those that are compared follow each other."""
    ways = []
    for what, clients in product(("texts", "pictures"), CLIENTS):
        ways += [
            Way(what, clients, f"raw ONNX {of}{way.removeprefix(what)}", None, measure_way)
            for of, raw in alone.items()
            for way, measure_way in raw.items()
            if way.startswith(what) and (clients == 1 or way not in ALONE_ONLY)
        ]
        ways += [
            Way(what, clients, peer, "raw ONNX fp32", can[what])
            for peer, can in theirs.items()
            if what in can and (clients > 1 or peer not in BATCHES_ONLY)
        ]
        ways += [
            Way(what, clients, f"Sightline {of}{way.removeprefix(what)}", f"raw ONNX {of}", measure_way)
            for of, can in ours.items()
            for way, measure_way in can.items()
            if way.startswith(what) and (clients > 1 or way not in BATCHES_ONLY)
        ]
    return ways


def _report_overhead(found: Measured, index_s: dict[str, float], lone: dict[str, Lone]) -> None:
    """What a lone search waits for beside its encoder and its index: as each is by itself, and as they are within."""
    print()
    for of, index in index_s.items():
        search = found["texts", 1, f"Sightline {of}, search"].p50_s
        print(f"a lone search, {of}: {1000 * search:.1f} ms, of which its index takes {1000 * index:.1f}", end="")
        for cores, way in (("all cores", ""), ("one core, as it is served", ", one core")):
            encoder = found["texts", 1, f"raw ONNX {of}{way}"].p50_s
            beyond = search - index - encoder
            print(f"; on {cores}, its encoder {1000 * encoder:.1f}, and what is beyond {1000 * beyond:.1f}", end="")
        whole, encoder, index = (1000 * seconds for seconds in lone[of])
        print(f"; by `took_ms`, of {whole:.1f} ms {encoder:.1f} and {index:.1f}: {whole - encoder - index:.1f} beyond")


if __name__ == "__main__":
    main()
