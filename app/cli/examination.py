"""What could keep the server from working, looked at piece by piece."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnxruntime

from app.settings import Settings
from models.encoder import DualEncoder
from models.errors import ModelError
from models.manifest import verify_files
from models.store import ModelStore

PACKAGES = ("sightline", "onnxruntime", "onnxruntime-gpu", "faiss-cpu", "faiss-gpu", "numpy", "pillow", "fastapi")
MIN_FREE_BYTES = 2**30


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    ok: bool
    detail: str


def examine(settings: Settings) -> Iterator[Check]:
    """All checks, in the order in which a start needs them."""
    yield Check("versions", ok=True, detail=_versions())
    yield _checked("execution providers", _providers)
    yield _checked("model files", lambda: _verify(settings))
    yield _checked("model", lambda: _embed(settings))
    yield _checked("data folder", lambda: _data_folder(settings.data_dir))
    yield _disk(settings.data_dir)


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, ok=True, detail=look())
    except (ModelError, OSError, ImportError) as error:
        return Check(name, ok=False, detail=str(error))


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _providers() -> str:
    return ", ".join(onnxruntime.get_available_providers())


def _verify(settings: Settings) -> str:
    store = ModelStore(settings.models_dir)
    manifest = store.manifest(settings.model)
    verify_files(store.folder(settings.model), manifest)
    return f"{settings.model} is whole, fingerprint {manifest.fingerprint[:12]}"


def _embed(settings: Settings) -> str:
    folder = ModelStore(settings.models_dir).folder(settings.model)
    encoder = DualEncoder.open(folder, device=settings.device, threads=settings.threads)
    encoder.encode_texts(["red dress"])
    return f"{settings.model} runs on {encoder.providers[0]}, {encoder.dimension} dimensions"


def _data_folder(folder: Path) -> str:
    existing = _nearest(folder)
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"{existing} cannot be written to")
    return f"{folder.resolve()} " + ("can be used" if folder.exists() else "can be made")


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(_nearest(folder)).free
    return Check("disk", ok=free >= MIN_FREE_BYTES, detail=f"{free / 2**30:.1f} GiB free")


def _nearest(folder: Path) -> Path:
    """The folder, or the closest above it that exists."""
    return next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
