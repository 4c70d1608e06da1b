"""`model.json`: what a model is, and by which files it can be known."""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import FileCorrupt, ManifestInvalid
from models.preprocessing import Preprocessing

MANIFEST = "model.json"
Precision = Literal["fp32", "fp16", "int8"]


class Manifest(BaseModel):
    """Frozen description of an exported model.

    Everything that decides an embedding is in `fingerprint`; names and measured figures are not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1, 2] = Field(default=2, description="1: int8 graphs scale their inputs by batch, which is refused")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    architecture: str
    pretrained: str | None = Field(description="OpenCLIP tag or file name; null for seeded weights")
    licence: str | None = Field(description="of the weights, as their publisher states it; null when unknown")
    precision: Precision
    dimension: int = Field(ge=1)
    preprocessing: Preprocessing
    context_length: int = Field(ge=2, description="tokens, special ones included")
    dynamic_length: bool = Field(description="whether padding may be trimmed without changing the embedding")
    pad_id: int = Field(ge=0)
    clean: Literal["lower", "whitespace", "canonicalize"] = Field(description="OpenCLIP's text cleaning")
    logit_scale: float = Field(description="temperature: logits = logit_scale * cosine + logit_bias")
    logit_bias: float | None
    files: dict[str, str] = Field(description="file name -> SHA-256 (hex)")
    parity: dict[str, float] = Field(description="lowest cosine with the original measured at export")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over all that decides an embedding: the files, the preprocessing, the tokenising."""
        decisive = self.model_dump(
            mode="json",
            include={"files", "preprocessing", "context_length", "dynamic_length", "pad_id", "clean"},
        )
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read a model folder's manifest.

    Raises:
        ManifestInvalid: Missing, not JSON, with a wrong or unknown field, or of int8 graphs of an older kind.
        PreprocessingUnknown: It asks for a resize mode that this version does not implement.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ManifestInvalid(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ManifestInvalid(f"{path} is not a model manifest: {error}") from error
    if manifest.format == 1 and manifest.precision == "int8":
        raise ManifestInvalid(
            f"{path} is of int8 graphs that embed a row differently beside others; add the model anew"
        )
    manifest.preprocessing.check()
    return manifest


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file with its SHA-256.

    Raises:
        FileCorrupt: A file is missing or differs; the message names it.
    """
    for name, expected in manifest.files.items():
        path = folder / name
        try:
            found = file_sha256(path)
        except OSError as error:
            raise FileCorrupt(f"{path} cannot be read: {error.strerror}") from error
        if found != expected:
            raise FileCorrupt(f"{path} has SHA-256 {found}, the manifest says {expected}; add the model anew")


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
