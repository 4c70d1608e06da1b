"""One set of seeded weights in every form that somebody needs; how fast a model is does not depend on them.

`python -m bench.peers.weights FOLDER`, with the train extra: OpenCLIP's checkpoint, a folder of Hugging Face's CLIP
with its tokeniser, and Sightline's graphs in fp32 and int8.
"""

import json
import sys
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.export import export_model
from models.manifest import MANIFEST

ARCHITECTURE = "ViT-B-32"
LAYERS = {"attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2"} | {
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
"""OpenCLIP's names of a layer's parts, and Hugging Face's."""
OTHERS = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "logit_scale": "logit_scale",
}


def make(folder: Path) -> None:
    """Write what is missing."""
    checkpoint = folder / "open_clip.pt"
    if not checkpoint.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        torch.save(open_clip.create_model(ARCHITECTURE, pretrained=None).state_dict(), checkpoint)
    if not (folder / "hf" / "config.json").exists():
        write_hugging_face(torch.load(checkpoint), folder / "hf")
    for precision in ("fp32", "int8"):
        if not (folder / precision / MANIFEST).exists():
            export_model(ARCHITECTURE, str(checkpoint), folder / precision, name=precision, precision=precision)


def write_hugging_face(weights: dict[str, Tensor], folder: Path) -> None:
    """OpenCLIP's ViT-B-32 as a folder of Hugging Face's CLIPModel, from whose weights it differs in names only."""
    folder.mkdir(exist_ok=True)
    save_file(hugging_face_weights(weights), folder / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(folder)
    size = {"height": 224, "width": 224}
    preprocessing = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": 224},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": size,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "image_mean": list(open_clip.OPENAI_DATASET_MEAN),
        "image_std": list(open_clip.OPENAI_DATASET_STD),
    }
    _write(folder / "preprocessor_config.json", preprocessing)
    tower = {"hidden_act": "gelu", "num_hidden_layers": 12}
    text = tower | {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "eos_token_id": 49407}
    vision = tower | {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "patch_size": 32}
    config = {"model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": 512}
    _write(folder / "config.json", config | {"text_config": text, "vision_config": vision})


def hugging_face_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Under the names of Hugging Face's CLIPModel."""
    made = {
        "visual_projection.weight": weights["visual.proj"].T.contiguous(),
        "text_projection.weight": weights["text_projection"].T.contiguous(),
    }
    for name, tensor in weights.items():
        tower = "vision_model" if name.startswith("visual.") else "text_model"
        if ".resblocks." in name:
            number, part = name.split(".resblocks.")[1].split(".", 1)
            made |= _layer(f"{tower}.encoder.layers.{number}.", part, tensor)
        elif name in OTHERS:
            made[OTHERS[name]] = tensor
        elif (stem := name.rpartition(".")[0]) in OTHERS:
            made[f"{OTHERS[stem]}.{name.rpartition('.')[2]}"] = tensor
    return made


def _layer(prefix: str, part: str, tensor: Tensor) -> dict[str, Tensor]:
    if part.startswith("attn.in_proj_"):
        kind, names = part.removeprefix("attn.in_proj_"), ("q_proj", "k_proj", "v_proj")
        thirds = tensor.chunk(3)
        return {f"{prefix}self_attn.{n}.{kind}": third.clone() for n, third in zip(names, thirds, strict=True)}
    stem, _, kind = part.rpartition(".")
    return {f"{prefix}{LAYERS[stem]}.{kind}": tensor}


def write_tokenizer(folder: Path) -> None:
    """CLIP's, from the vocabulary in OpenCLIP's package."""
    simple: Any = open_clip.SimpleTokenizer()
    start, end = "<|startoftext|>", "<|endoftext|>"
    spelt = {simple.sot_token_id: start, simple.eot_token_id: end}
    _write(folder / "vocab.json", {spelt.get(number, word): number for word, number in simple.encoder.items()})
    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.__getitem__)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges)]) + "\n", encoding="utf-8")
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
    _write(folder / "special_tokens_map.json", special)
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    _write(folder / "tokenizer_config.json", special | settings)


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
