"""What a GPU does: encoders by batch and precision beside torch, pictures from their bytes, FAISS beside the CPU.

`python -m bench.gpu [--device cuda|tensorrt|cpu] [--folder MODELS] ...`: models that are missing are exported, with
seeded weights, for which the train extra is needed as it is for torch; what cannot be measured is said. Without a GPU
all of it runs on the CPU.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from app.sample.catalogue import draw_sample
from bench.index import BLOCK, World
from bench.ingest import ingest_files
from models.encoder import DualEncoder
from models.manifest import MANIFEST, Manifest, read_manifest
from models.sessions import Device, Session, choose_providers

FOLDER = Path.home() / ".cache" / "sightline-gpu"
SHORT = 8
"""Tokens of most queries."""
DRAWN = 256
K = 10
QUERIES = 256
PROBES = 16


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    device: Device = "auto"
    folder: Path = FOLDER
    architectures: Sequence[str] = ("ViT-B-32", "ViT-L-14")
    precisions: Sequence[str] = ("fp32", "fp16")
    batches: Sequence[int] = (1, 8, 32, 128, 512)
    seconds: float = 2.0
    pictures: int = 4096
    vectors: int = 1_000_000
    dimension: int = 512

    @property
    def torch_device(self) -> str:
        return "cpu" if choose_providers(self.device) == ["CPUExecutionProvider"] else "cuda"


def run(plan: Plan) -> None:
    """Print the tables."""
    models = dict(_models(plan))
    print(
        f"\nEncoders on {choose_providers(plan.device)[0]}, inputs and embeddings in the machine's memory; per second"
    )
    print(f"{'':<28}{'batch':>8}{'pictures':>12}{f'{SHORT} tokens':>12}{'whole texts':>12}")
    for name, folder in models.items():
        _print_rates(name, _onnx(folder, plan), plan)
    for architecture in plan.architectures:
        _print_torch(architecture, plan)
    print(f"\nFrom bytes of JPEG to a collection, {plan.pictures:,} pictures of 384 x 384\n{'':<28}{'per second':>12}")
    for name, folder in models.items():
        print(f"{name:<28}{_ingest_rate(folder, plan):>12.0f}", flush=True)
    _report_faiss(plan)


def _models(plan: Plan) -> Iterator[tuple[str, Path]]:
    for architecture in plan.architectures:
        for precision in plan.precisions:
            folder = plan.folder / f"{architecture}-{precision}"
            if (folder / MANIFEST).exists() or _export(architecture, precision, folder):
                yield folder.name, folder


def _export(architecture: str, precision: str, folder: Path) -> bool:
    try:
        from models.export import export_model
    except ImportError as error:
        print(f"{folder.name}: not at {folder}, and not exported without {error.name} of the train extra")
        return False
    export_model(architecture, None, folder, name=folder.name, precision=precision)
    return True


Run = Callable[[NDArray[np.generic]], object]


@dataclass(frozen=True)
class Towers:
    """Both towers of a model, as something runs them, and inputs of one row."""

    image: Run
    text: Run
    manifest: Manifest

    def rates(self, batch: int, seconds: float) -> list[float]:
        """Pictures, short texts and whole texts per second."""
        height, width = self.manifest.preprocessing.size
        pixels = np.zeros((batch, height, width, 3), dtype=np.uint8)
        lengths = (SHORT, self.manifest.context_length)
        texts = [np.ones((batch, length), dtype=np.int64) for length in lengths]
        return [batch * _per_s(lambda: self.image(pixels), seconds)] + [
            batch * _per_s(lambda rows=rows: self.text(rows), seconds) for rows in texts
        ]


def _onnx(folder: Path, plan: Plan) -> Towers:
    image, text = (Session(folder / f"{tower}.onnx", device=plan.device, threads=0) for tower in ("image", "text"))
    return Towers(image.run, text.run, read_manifest(folder))


def _print_torch(architecture: str, plan: Plan) -> None:
    """The same towers in torch, compiled, in bfloat16."""
    try:
        towers = _torch(architecture, plan.folder / f"{architecture}-{plan.precisions[0]}", plan.torch_device)
    except ImportError as error:
        print(f"torch, {architecture}: not measured without {error.name} of the train extra")
        return
    _print_rates(f"torch, {architecture}, bf16", towers, plan)


def _torch(architecture: str, folder: Path, device: str) -> Towers:
    import torch

    from models.export import load_source
    from models.towers import ImageTower, text_tower

    source = load_source(architecture, None)
    ids = source.text.tokenizer(["", "two words"]).long()
    made = ImageTower(source.model, source.preprocessing), text_tower(source.model, ids)[0]
    compiled = [torch.compile(tower.to(device).eval()) for tower in made]

    def runner(tower: Callable[[torch.Tensor], torch.Tensor]) -> Run:
        def run_tower(rows: NDArray[np.generic]) -> object:
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
                return tower(torch.from_numpy(rows).to(device)).float().cpu().numpy()

        return run_tower

    return Towers(*map(runner, compiled), read_manifest(folder))


def _print_rates(name: str, towers: Towers, plan: Plan) -> None:
    for batch in plan.batches:
        rates = towers.rates(batch, plan.seconds)
        print(f"{name:<28}{batch:>8}" + "".join(f"{rate:>12.0f}" for rate in rates), flush=True)


def _per_s(call: Callable[[], object], seconds: float) -> float:
    """Calls per second by their median, after two that do not count: of a new shape the first is slow."""
    call()
    call()
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while not times or time.perf_counter() < ends:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return 1 / float(np.median(times))


def _ingest_rate(folder: Path, plan: Plan) -> float:
    """Pictures per second that a collection takes in."""
    encoder = DualEncoder.open(folder, device=plan.device)
    with tempfile.TemporaryDirectory() as name:
        draw_sample(Path(name), items=min(DRAWN, plan.pictures))
        files = sorted((Path(name) / "images").iterdir())
        ingest_files(encoder, files, len(files))
        started = time.perf_counter()
        ingest_files(encoder, files, plan.pictures)
        return plan.pictures / (time.perf_counter() - started)


def _report_faiss(plan: Plan) -> None:
    world = World(plan.dimension)
    blocks = range(0, plan.vectors, BLOCK)
    stored = np.concatenate([world.pictures(min(BLOCK, plan.vectors - start), seed=start) for start in blocks])
    queries = world.texts(QUERIES, seed=3)
    indexes = {"flat": _flat(stored), "IVF": _ivf(stored)}
    exact = indexes["flat"].search(queries, K)[1]
    on_gpu = _to_gpu()
    print(f"\nFAISS, {plan.vectors:,} x {plan.dimension}, queries per second; IVF looks into {PROBES} of its lists")
    print(f"{'':<28}{'one by one':>12}{f'{QUERIES} at once':>12}{f'recall@{K}':>12}")
    for name, index in indexes.items():
        _print_searches(f"{name}, CPU", index, queries, exact, plan.seconds)
        if on_gpu:
            _print_searches(f"{name}, GPU", on_gpu(index), queries, exact, plan.seconds)
    if not on_gpu:
        print("no GPU in FAISS: it needs the package faiss-gpu, and a GPU")


def _flat(stored: NDArray[np.float32]) -> faiss.Index:
    index = faiss.IndexFlatIP(stored.shape[1])
    index.add(stored)
    return index


def _ivf(stored: NDArray[np.float32]) -> faiss.Index:
    count, dimension = stored.shape
    lists = 2 ** round(np.log2(count) / 2)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, lists, faiss.METRIC_INNER_PRODUCT)
    index.train(stored[: 64 * lists])
    index.add(stored)
    index.nprobe = PROBES
    return index


def _to_gpu() -> Callable[[faiss.Index], faiss.Index] | None:
    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        return None
    resources = faiss.StandardGpuResources()
    return lambda index: faiss.index_cpu_to_gpu(resources, 0, index)


def _print_searches(
    name: str, index: faiss.Index, queries: NDArray[np.float32], exact: NDArray[np.int64], seconds: float
) -> None:
    found = index.search(queries, K)[1]
    recall = np.mean([len(set(of) & set(wanted)) / K for of, wanted in zip(found, exact, strict=True)])
    alone = _per_s(lambda: index.search(queries[:1], K), seconds)
    together = QUERIES * _per_s(lambda: index.search(queries, K), seconds)
    print(f"{name:<28}{alone:>12.0f}{together:>12.0f}{recall:>12.3f}", flush=True)


def _read_arguments() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "tensorrt"), default="auto")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    for name, kind in (("architectures", str), ("precisions", str), ("batches", int)):
        parser.add_argument(f"--{name}", nargs="+", type=kind, default=getattr(Plan, name))
    parser.add_argument("--seconds", type=float, default=Plan.seconds)
    for name in ("pictures", "vectors", "dimension"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Plan, name))
    return Plan(**vars(parser.parse_args()))


if __name__ == "__main__":
    run(_read_arguments())
