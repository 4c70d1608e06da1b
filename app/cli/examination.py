"""What could keep the server from working, looked at piece by piece."""

import json
import os
import platform
import resource
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import onnxruntime

from app.cli.inspection import Check, inspect
from app.settings import Settings
from app.version import read_version
from indexer.index.hardware import usable_memory
from models.encoder import DualEncoder
from models.errors import ModelError
from models.manifest import verify_files
from models.store import ModelStore

PACKAGES = (
    *("onnxruntime", "onnxruntime-gpu", "faiss-cpu", "faiss-gpu", "numpy", "pillow", "pyarrow", "tokenizers"),
    *("fastapi", "uvicorn", "sqlalchemy", "opentelemetry-sdk"),
)
MIN_PARITY = 0.95
"""Cosine of an exported model with its original; int8 costs texts a hundredth or two."""
SAME = 0.9999
"""Cosine of what a text gives alone and in a batch."""
MIN_OPEN_FILES = 1024
LIMITS = (
    *("max_body_bytes", "max_image_bytes", "max_image_pixels", "max_batch_items", "max_catalogue_bytes"),
    *("running_jobs", "min_free_bytes", "threads"),
)


def examine(settings: Settings) -> Iterator[Check]:
    """All checks, in the order in which a start needs them."""
    yield _versions()
    yield _checked("execution providers", _providers)
    yield _checked("model files", lambda: _verify(settings))
    yield _checked("model", lambda: _embed(settings))
    yield _parity(settings)
    yield _checked("data folder", lambda: _data_folder(settings.data_dir))
    yield _disk(settings)
    yield from _folder(settings)
    yield _limits(settings)


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, ok=True, detail=look())
    except (ModelError, OSError, ImportError) as error:
        return Check(name, ok=False, detail=str(error))


def _versions() -> Check:
    found = {"sightline": read_version(), "Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    detail = ", ".join(f"{name} {number}" for name, number in found.items())
    return Check("versions", True, f"{detail}; {platform.platform()}", found)


def _providers() -> str:
    return ", ".join(onnxruntime.get_available_providers())


def _verify(settings: Settings) -> str:
    store = ModelStore(settings.models_dir)
    manifest = store.manifest(settings.model)
    verify_files(store.folder(settings.model), manifest)
    return f"{settings.model} is whole, fingerprint {manifest.fingerprint[:12]}"


def _embed(settings: Settings) -> str:
    encoder = _open(settings)
    encoder.encode_texts(["red dress"])
    return f"{settings.model} runs on {encoder.providers[0]}, {encoder.dimension} dimensions"


def _parity(settings: Settings) -> Check:
    """Whether the export was true to its original, and a text is embedded here as it is in a batch."""
    try:
        manifest, encoder = ModelStore(settings.models_dir).manifest(settings.model), _open(settings)
        texts = ["red dress", "a pair of black leather shoes for men"]
        alone = np.concatenate([encoder.encode_texts([text]).vectors for text in texts])
        same = float(np.vecdot(encoder.encode_texts(texts).vectors, alone).min())
    except (ModelError, OSError) as error:
        return Check("model parity", ok=False, detail=str(error))
    exported = ", ".join(f"{tower} {cosine:.4f}" for tower, cosine in manifest.parity.items())
    ok = same >= SAME and min(manifest.parity.values(), default=1.0) >= MIN_PARITY
    detail = f"lowest cosine with the original {exported or 'not measured'}; alone and in a batch {same:.6f}"
    return Check("model parity", ok, detail, {"exported": manifest.parity, "alone_and_in_a_batch": same})


def _open(settings: Settings) -> DualEncoder:
    folder = ModelStore(settings.models_dir).folder(settings.model)
    return DualEncoder.open(folder, device=settings.device, threads=settings.threads)


def _data_folder(folder: Path) -> str:
    existing = _nearest(folder)
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"{existing} cannot be written to")
    return f"{folder.resolve()} " + ("can be used" if folder.exists() else "can be made")


def _disk(settings: Settings) -> Check:
    free, needed = shutil.disk_usage(_nearest(settings.data_dir)).free, settings.min_free_bytes
    detail = f"{free / 2**30:.1f} GiB free; below {needed / 2**30:.2f} GiB uploads are refused and jobs wait"
    return Check("disk", free >= needed, detail, {"free_bytes": free, "min_free_bytes": needed})


def _folder(settings: Settings) -> Iterator[Check]:
    try:
        yield from inspect(settings.data_dir, ModelStore(settings.models_dir))
    except (sqlite3.Error, OSError, json.JSONDecodeError) as error:
        yield Check("catalogue", ok=False, detail=str(error))


def _limits(settings: Settings) -> Check:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    machine = {"cpus": len(os.sched_getaffinity(0)), "memory_bytes": usable_memory(), "open_files": files}
    facts = machine | {name: getattr(settings, name) for name in LIMITS}
    detail = ", ".join(f"{name} {value:,}" for name, value in facts.items())
    return Check("limits", files >= MIN_OPEN_FILES, detail, facts)


def _nearest(folder: Path) -> Path:
    """The folder, or the closest above it that exists."""
    return next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
