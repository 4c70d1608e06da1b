"""Any OpenCLIP model to ONNX, with its parity measured against the original (torch; not needed for serving)."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from models.encoder import DualEncoder
from models.errors import ExportFailed
from models.manifest import MANIFEST, Manifest, Precision, file_sha256
from models.precision import convert_precision
from models.preprocessing import Preprocessing
from models.tokenizer_export import TextSettings, save_tokenizer
from models.towers import ImageTower, TextTower, image_tower, text_tower

MIN_PARITY = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.95}
"""Lowest cosine with the original that an export may have; int8 is a real approximation, so its figure is recorded."""

_PARITY_TEXTS = ["", "a", "red dress", "a photo of two dogs on a beach, one of them with a blue ball", "word " * 200]
"""An empty one among them: its first token is that of other texts only where a token begins all texts."""


@dataclass(frozen=True)
class Source:
    """A model to export: its torch module and what only its configuration knows."""

    architecture: str
    pretrained: str | None
    model: nn.Module
    preprocessing: Preprocessing
    text: TextSettings
    licence: str | None


def load_source(
    architecture: str, pretrained: str | None, *, preprocess_tag: str | None = None, seed: int = 0
) -> Source:
    """Build an OpenCLIP model with its weights and its own preprocessing.

    Args:
        architecture: A name OpenCLIP knows (`ViT-B-32`), or `local-dir:FOLDER` / `hf-hub:ORG/NAME`.
        pretrained: A tag OpenCLIP knows, or a checkpoint file; None leaves weights made from `seed`.
        preprocess_tag: For a checkpoint file: the tag whose preprocessing it was trained with.

    Raises:
        ExportFailed: Unknown name or tag, weights that do not load, or an unclear preprocessing.
    """
    torch.manual_seed(seed)
    try:
        model = open_clip.create_model(
            architecture,
            pretrained=pretrained,
            force_preprocess_cfg=_preprocess_of_tags(architecture, pretrained, preprocess_tag),
        ).eval()
        tokenizer = open_clip.get_tokenizer(architecture)
    except ExportFailed:
        raise
    except Exception as error:  # open_clip raises RuntimeError, KeyError, OSError, huggingface_hub errors ...
        raise ExportFailed(f"OpenCLIP cannot make {architecture} with weights {pretrained}: {error}") from error
    card = open_clip.get_pretrained_cfg(architecture, pretrained) if pretrained else {}
    preprocessing = Preprocessing.from_open_clip(open_clip.get_model_preprocess_cfg(model))
    settings = TextSettings.of(tokenizer)
    name = architecture if ":" not in architecture else architecture.rstrip("/").rpartition("/")[2]
    weights = Path(pretrained).name if pretrained and not card else pretrained
    return Source(name, weights, model, preprocessing, settings, card.get("license"))


def _preprocess_of_tags(architecture: str, pretrained: str | None, tag: str | None) -> dict[str, Any] | None:
    """The preprocessing of weights that carry none: a file, or seeded weights.

    OpenCLIP would take CLIP's defaults for them, which is wrong for SigLIP and others; so it comes from the
    architecture's published tags, when those agree, or from the one that is named.
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture) if ":" not in architecture else []
    if pretrained in tags or not tags:
        return None
    if tag is not None and tag not in tags:
        raise ExportFailed(f"{architecture} has no tag {tag!r}; it has {', '.join(tags)}")
    keys = ("mean", "std", "interpolation", "resize_mode")
    cards = [open_clip.get_pretrained_cfg(architecture, name) for name in ([tag] if tag else tags)]
    published = [{key: card[key] for key in keys if card.get(key) is not None} for card in cards]
    if any(other != published[0] for other in published):
        raise ExportFailed(
            f"the published weights of {architecture} differ in preprocessing; "
            f"name the tag that yours were trained like: {', '.join(tags)}"
        )
    return published[0]


def export_model(
    architecture: str,
    pretrained: str | None,
    out: Path,
    *,
    name: str,
    precision: Precision = "fp32",
    licence: str | None = None,
    preprocess_tag: str | None = None,
    seed: int = 0,
) -> Manifest:
    """Export a model into the folder `out`, complete or not at all.

    Returns:
        Its manifest, with the parity measured.

    Raises:
        ExportFailed: The model cannot be made, or the graphs differ from it by more than `MIN_PARITY`.
        PreprocessingUnknown: Its preprocessing has a mode that Sightline does not implement.
    """
    source = load_source(architecture, pretrained, preprocess_tag=preprocess_tag, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{name}-") as temporary:
        made = Path(temporary)
        dynamic = _export_towers(source, made, precision)
        save_tokenizer(source.text, made / "tokenizer.json")
        manifest = _describe(source, made, name, precision, dynamic, licence)
        _write(manifest, made)
        manifest = manifest.model_copy(update={"parity": measure_parity(source, DualEncoder.open(made, device="cpu"))})
        _require_parity(manifest)
        _write(manifest, made)
        if out.exists():
            shutil.rmtree(out)
        made.chmod(0o755)  # temporary folders are their maker's alone; a server may run as another user
        made.rename(out)
        made.mkdir()  # for TemporaryDirectory to remove
    return manifest


def measure_parity(source: Source, encoder: DualEncoder) -> dict[str, float]:
    """Lowest cosine between the exported towers and the original, on pictures and texts that are hard on purpose."""
    images = _parity_images()
    pixels = np.stack([source.preprocessing.pixels(image) for image in images])
    with torch.inference_mode():
        wanted_images = ImageTower(source.model, source.preprocessing)(torch.from_numpy(pixels))
        wanted_texts = TextTower(source.model)(source.text.tokenizer(_PARITY_TEXTS))
    return {
        "image": _lowest_cosine(encoder.encode_images(images), wanted_images.numpy()),
        "text": _lowest_cosine(encoder.encode_texts(_PARITY_TEXTS).vectors, wanted_texts.numpy()),
    }


def _export_towers(source: Source, folder: Path, precision: Precision) -> bool:
    height, width = source.preprocessing.size
    batch = torch.export.Dim("batch", min=1, max=4096)
    pixels = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    _export(image_tower(source.model, source.preprocessing), pixels, {0: batch}, folder / "image.onnx", precision)
    ids = source.text.tokenizer(_PARITY_TEXTS).long()
    tower, dynamic = text_tower(source.model, ids)
    shape: dict[int, Any] = {0: batch}
    if dynamic:
        ids = ids[:, :8]
        shape[1] = torch.export.Dim("length", min=2, max=source.text.context_length)
    _export(tower, ids, shape, folder / "text.onnx", precision)
    return dynamic


def _export(tower: nn.Module, example: Tensor, shape: dict[int, Any], file: Path, precision: Precision) -> None:
    try:
        program = torch.onnx.export(tower.eval(), (example,), dynamo=True, dynamic_shapes=(shape,), verbose=False)
    except Exception as error:
        raise ExportFailed(f"torch cannot export {file.name}: {error}") from error
    with tempfile.TemporaryDirectory() as temporary:
        program.save(Path(temporary) / "graph.onnx")
        graph = convert_precision(_without_notes(onnx.load(Path(temporary) / "graph.onnx")), precision)
    # Weights go into the graph's own file unless they pass protobuf's 2 GB.
    onnx.save_model(graph, file, save_as_external_data=graph.ByteSize() > 2**31 - 2**20, location=f"{file.name}.data")


def _without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the notes of where in whose folders each node came from: a fingerprint must not depend on them."""
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.ClearField("metadata_props")
    return model


def _describe(
    source: Source, folder: Path, name: str, precision: Precision, dynamic: bool, licence: str | None
) -> Manifest:
    bias = getattr(source.model, "logit_bias", None)
    files = {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    with torch.inference_mode():
        dimension = TextTower(source.model)(source.text.tokenizer(["a"])).shape[1]
    return Manifest(
        name=name,
        architecture=source.architecture,
        pretrained=source.pretrained,
        licence=licence or source.licence,
        precision=precision,
        dimension=dimension,
        preprocessing=source.preprocessing,
        context_length=source.text.context_length,
        dynamic_length=dynamic,
        pad_id=source.text.pad_id,
        clean=source.text.clean,
        logit_scale=float(source.model.logit_scale.detach().exp()),
        logit_bias=None if bias is None else float(bias.detach()),
        files=files,
        parity={},
    )


def _write(manifest: Manifest, folder: Path) -> None:
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _require_parity(manifest: Manifest) -> None:
    for tower, cosine in manifest.parity.items():
        if not cosine >= MIN_PARITY[manifest.precision]:
            raise ExportFailed(
                f"the exported {tower} tower has cosine {cosine:.5f} with the original; "
                f"{manifest.precision} needs {MIN_PARITY[manifest.precision]}"
            )


def _parity_images() -> list[Image.Image]:
    noise = np.random.default_rng(0)
    shapes = [(224, 224), (333, 97), (64, 500), (17, 17)]
    return [Image.fromarray(noise.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]


def _lowest_cosine(made: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return round(float((made * wanted).sum(axis=1).min()), 6)
