"""The exported model against open_clip itself, stage by stage: token ids, pixels, embeddings.

Weights come from a seed, since no checkpoint can be had without a model hub; what is compared does not depend on them.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="parity needs the train extra")
import open_clip
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import Unigram, WordPiece

from models.encoder import DualEncoder
from models.export import Source, export_model, load_source
from tests.train.hard_texts import hard_texts

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("default")]  # torch warns about itself

DYNAMIC = {"ViT-B-32": True, "RN50": True, "MobileCLIP2-S0": False, "ViT-B-16-SigLIP": False, "hugging-face": True}


@pytest.fixture(scope="module", params=list(DYNAMIC))
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Source, DualEncoder]]:
    """The original and its export; one model in memory at a time."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    architecture = {
        "ViT-B-16-SigLIP": lambda: siglip_folder(folder / "source"),
        "hugging-face": lambda: hugging_face_folder(folder / "source"),
    }.get(name, lambda: name)()
    export_model(architecture, None, folder / "model", name="model")
    return load_source(architecture, None), DualEncoder.open(folder / "model", device="cpu")


def siglip_folder(folder: Path) -> str:
    """OpenCLIP's ViT-B-16-SigLIP with a tokeniser of SigLIP's kind: its own is only on a hub."""
    tokenizer = Tokenizer(Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=2000, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>")
    tokenizer.train_from_iterator([text.lower() for text in hard_texts(3000, seed=5) if text.isascii()], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    preprocess = open_clip.get_pretrained_cfg("ViT-B-16-SigLIP", "webli")
    return write_folder(folder, open_clip.get_model_config("ViT-B-16-SigLIP"), tokenizer, preprocess, eos_token="</s>")


def hugging_face_folder(folder: Path) -> str:
    """A small BERT with a WordPiece tokeniser, mean-pooled, beside a small ViT that pads its pictures."""
    from transformers import BertConfig

    tokenizer = Tokenizer(WordPiece(word_pieces(hard_texts(3000, seed=5)), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    BertConfig(vocab_size=tokenizer.get_vocab_size(), **sizes).save_pretrained(folder)
    text = {
        "hf_model_name": str(folder),
        "hf_tokenizer_name": str(folder),
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "mlp",
        "hf_model_pretrained": False,
        "context_length": 48,
    }
    model = {
        "embed_dim": 96,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 16},
        "text_cfg": text,
    }
    preprocess = {
        "size": 64,
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.3, 0.4],
        "interpolation": "bilinear",
        "resize_mode": "longest",
        "fill_color": 255,
    }
    return write_folder(folder, model, tokenizer, preprocess, sep_token="[SEP]", cls_token="[CLS]")


def word_pieces(texts: list[str]) -> dict[str, int]:
    """The most common words and letters of texts; tokenizers' own trainer gives another vocabulary each time."""
    split, normalise = pre_tokenizers.BertPreTokenizer().pre_tokenize_str, normalizers.BertNormalizer().normalize_str
    words = Counter(word for text in texts for word, _ in split(normalise(text)))
    letters = Counter("".join(words.elements()))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(word for word, _ in words.most_common(1000))]
    pieces += [piece for letter, _ in letters.most_common(500) for piece in (letter, f"##{letter}")]
    return {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}


def write_folder(
    folder: Path, model: dict[str, Any], tokenizer: Tokenizer, preprocess: dict[str, Any], **special: str
) -> str:
    from safetensors.torch import save_file
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    pad = "<pad>" if "eos_token" in special else "[PAD]"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, **special).save_pretrained(folder)
    keys = ("size", "mean", "std", "interpolation", "resize_mode", "fill_color")
    kept = {key: preprocess[key] for key in keys if key in preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": kept}))
    torch.manual_seed(3)
    built = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False)
    save_file(
        {name: tensor.contiguous() for name, tensor in built.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return f"local-dir:{folder}"


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(1)
    sizes = [(224, 224), (640, 480), (111, 333), (300, 40), (37, 41), (1, 1), (500, 499), (225, 300)]
    return [
        Image.fromarray(rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)).resize(
            (width, height)
        )
        for width, height in sizes
    ]


def cosines(made: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.asarray((made * wanted).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(wanted, axis=1))


def test_token_ids_are_those_of_open_clip(exported: tuple[Source, DualEncoder]) -> None:
    source, encoder = exported
    texts = hard_texts(3000)
    wanted = source.text.tokenizer(texts).numpy()
    made, truncated = encoder._tokenizer(texts)
    for text, row, ids in zip(texts, wanted, made, strict=True):
        assert row[: len(ids)].tolist() == ids.tolist(), repr(text)
        assert (row[len(ids) :] == encoder.manifest.pad_id).all(), repr(text)
    assert truncated[texts.index("word " * 500)]
    assert not truncated[texts.index("red")]


def test_pixels_are_those_of_open_clip(exported: tuple[Source, DualEncoder]) -> None:
    source, encoder = exported
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**open_clip.get_model_preprocess_cfg(source.model)), is_train=False
    )
    mean, std = np.array(encoder.manifest.preprocessing.mean), np.array(encoder.manifest.preprocessing.std)
    for picture in pictures():
        wanted = transform(picture).numpy().transpose(1, 2, 0)
        made = (encoder.manifest.preprocessing.pixels(picture) / 255 - mean) / std
        assert np.abs(made - wanted).max() < 1e-5, picture.size


def test_embeddings_are_those_of_open_clip(exported: tuple[Source, DualEncoder]) -> None:
    source, encoder = exported
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**open_clip.get_model_preprocess_cfg(source.model)), is_train=False
    )
    texts = ["red dress", "a", "", "men's black leather shoes", "word " * 200, "新款连衣裙 👗 &amp; café"]
    with torch.inference_mode():
        images = source.model.encode_image(torch.stack([transform(picture) for picture in pictures()])).numpy()
        wanted = source.model.encode_text(source.text.tokenizer(texts)).numpy()
    made = encoder.encode_images(pictures())
    assert np.linalg.norm(made, axis=1) == pytest.approx(1, abs=1e-5)
    assert cosines(made, images).min() >= 0.9999
    assert cosines(encoder.encode_texts(texts).vectors, wanted).min() >= 0.9999


def test_a_batch_gives_what_singles_give(exported: tuple[Source, DualEncoder]) -> None:
    assert_a_batch_gives_what_singles_give(exported[1])


def assert_a_batch_gives_what_singles_give(encoder: DualEncoder) -> None:
    texts = ["a", "red dress", "one two three four five six seven", "word " * 200]
    together, alone = encoder.encode_texts(texts).vectors, [encoder.encode_texts([text]).vectors[0] for text in texts]
    assert cosines(together, np.stack(alone)).min() >= 0.99999
    images = pictures()[:4]
    alone = [encoder.encode_images([image])[0] for image in images]
    assert cosines(encoder.encode_images(images), np.stack(alone)).min() >= 0.99999


def test_only_towers_that_ignore_padding_take_short_texts(
    exported: tuple[Source, DualEncoder], request: pytest.FixtureRequest
) -> None:
    _, encoder = exported
    assert encoder.manifest.dynamic_length == DYNAMIC[request.node.callspec.params["exported"]]
    texts = ["a", "red dress"]
    padded = np.full((2, encoder.manifest.context_length), encoder.manifest.pad_id, dtype=np.int64)
    for row, ids in zip(padded, encoder._tokenizer(texts).ids, strict=True):
        row[: len(ids)] = ids
    assert (
        cosines(encoder.encode_texts(texts).vectors, encoder.texts["interactive"]._run(list(padded))).min() >= 0.99999
    )


@pytest.mark.parametrize("architecture", ["hugging-face", "ViT-S-32"])
@pytest.mark.parametrize(("precision", "nearest"), [("fp16", 0.9995), ("int8", 0.99)])
def test_other_precisions_stay_near(architecture: str, precision: Any, nearest: float, tmp_path: Path) -> None:
    source = hugging_face_folder(tmp_path / "source") if architecture == "hugging-face" else architecture
    whole = export_model(source, None, tmp_path / "fp32", name="whole")
    made = export_model(source, None, tmp_path / precision, name="made", precision=precision)
    assert made.fingerprint != whole.fingerprint
    sizes = [sum((tmp_path / folder / file).stat().st_size for file in made.files) for folder in (precision, "fp32")]
    assert sizes[0] < 0.75 * sizes[1]
    assert min(made.parity.values()) > nearest
    assert_a_batch_gives_what_singles_give(DualEncoder.open(tmp_path / precision, device="cpu"))


def test_an_export_does_not_tell_where_its_code_lay(tmp_path: Path) -> None:
    export_model(hugging_face_folder(tmp_path / "source"), None, tmp_path / "model", name="model")
    for tower in ("image", "text"):
        assert b"export.py" not in (tmp_path / "model" / f"{tower}.onnx").read_bytes()


def test_weights_from_a_file_take_the_preprocessing_of_their_architecture(tmp_path: Path) -> None:
    from models.errors import ExportFailed
    from models.export import _preprocess_of_tags

    assert _preprocess_of_tags("ViT-B-16-SigLIP", "weights.pt", None) == {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "resize_mode": "squash"}  # fmt: skip
    assert _preprocess_of_tags("ViT-B-32", "openai", None) is None
    with pytest.raises(ExportFailed, match="laion2b_s32b_b82k"):
        _preprocess_of_tags("ViT-L-14", "weights.pt", None)
    with pytest.raises(ExportFailed, match="no tag"):
        _preprocess_of_tags("ViT-L-14", "weights.pt", "nothing")
