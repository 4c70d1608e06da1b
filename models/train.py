"""Contrastive training of any OpenCLIP configuration on a catalogue of pictures and captions (torch).

The symmetric InfoNCE loss of CLIP (Radford et al. 2021, arXiv:2103.00020, figure 3), with one change: captions of a
batch that are equal share the target, since "blue shirt" is no wrong answer for another blue shirt (supervised
contrastive learning, Khosla et al. 2020, arXiv:2004.11362).
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from models.augmentation import augment
from models.errors import TrainingFailed
from models.evaluation import mean_reciprocal_rank, ranks, recall_at
from models.preprocessing import Preprocessing
from models.recipe import Example, Recipe, write_json

MAX_LOGIT_SCALE = 100.0
"""CLIP's bound on the inverse temperature."""

Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called with what is being done, how much is done, of how much, and the figures so far."""


@dataclass(frozen=True)
class TrainingData:
    """Decoded pictures and their captions."""

    pixels: NDArray[np.uint8]
    """[n, h, w, 3], memory-mapped."""
    captions: list[tuple[int, ...]]
    """For each picture the indices of its captions."""
    texts: list[str]


def build_model(recipe: Recipe) -> nn.Module:
    """The recipe's OpenCLIP model, initialised from its seed."""
    torch.manual_seed(recipe.seed)
    config = dict(recipe.model)
    text = config.pop("text_cfg")
    if config.pop("custom_text", False) or "hf_model_name" in text:
        return open_clip.CustomTextCLIP(**config, text_cfg=text)
    return open_clip.CLIP(**config, text_cfg=text)


def build_tokenizer(recipe: Recipe) -> Callable[[list[str]], Tensor]:
    """The recipe's OpenCLIP tokeniser."""
    text = recipe.model["text_cfg"]
    length = text.get("context_length", 77)
    if "hf_tokenizer_name" in text:
        return open_clip.tokenizer.HFTokenizer(
            text["hf_tokenizer_name"], context_length=length, **text.get("tokenizer_kwargs", {})
        )
    return open_clip.SimpleTokenizer(context_length=length)


def load_data(
    examples: Sequence[Example], preprocessing: Preprocessing, cache: Path, progress: Progress
) -> TrainingData:
    """Decode every picture once into a memory-mapped file, which a resumed run finds again."""
    texts = sorted({caption for example in examples for caption in example.captions})
    number = {text: index for index, text in enumerate(texts)}
    captions = [tuple(number[caption] for caption in example.captions) for example in examples]
    shape = (len(examples), *preprocessing.size, 3)
    if not cache.exists():
        partial = cache.with_suffix(".partial.npy")
        pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        for index, example in enumerate(examples):
            with Image.open(example.image) as image:
                pixels[index] = preprocessing.pixels(image.convert("RGB"))
            progress("decode", index + 1, len(examples), {})
        pixels.flush()
        partial.rename(cache)
    pixels = np.load(cache, mmap_mode="r")
    if pixels.shape != shape:
        raise TrainingFailed(f"{cache} holds pictures of another run {pixels.shape}; use another --out folder")
    return TrainingData(pixels, captions, texts)


class CaptionTower:
    """Embeds captions by number; a frozen text tower runs once per text, and only its projection is trained."""

    def __init__(self, model: nn.Module, recipe: Recipe, texts: Sequence[str], progress: Progress) -> None:
        self.model = model
        tokens = build_tokenizer(recipe)(list(texts))
        self.features = tokens
        self.frozen = recipe.lock_text
        if self.frozen:
            model.lock_text_tower()
            self.features = _pooled_features(model.text, tokens, progress)

    def __call__(self, numbers: Tensor) -> Tensor:
        """Embeddings [n, d] (unit length) of the captions with these numbers."""
        features = self.features[numbers]
        made = self.model.text.proj(features) if self.frozen else self.model.encode_text(features)
        return functional.normalize(made, dim=-1)


@torch.inference_mode()
def _pooled_features(tower: nn.Module, tokens: Tensor, progress: Progress) -> Tensor:
    """What a Hugging Face tower gives before its projection: [n, width]."""
    lengths = (tokens != tower.config.pad_token_id).sum(1)
    order = torch.argsort(lengths)
    pooled = torch.empty(len(tokens), tower.config.hidden_size)
    tower.eval()
    for chunk in order.split(256):
        ids = tokens[chunk, : int(lengths[chunk].max())]
        mask = (ids != tower.config.pad_token_id).long()
        pooled[chunk] = tower.pooler(tower.transformer(input_ids=ids, attention_mask=mask), mask)
        progress("embed captions", 0, len(tokens), {})
    return pooled.clone()


def contrastive_loss(images: Tensor, texts: Tensor, numbers: Tensor, logit_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE, in which equal captions (equal `numbers`) share the target.

    Args:
        images: [n, d], unit length.
        texts: [n, d], unit length; row i is a caption of picture i.
        numbers: [n], identity of each caption.
        logit_scale: inverse temperature.
    """
    logits = logit_scale * images @ texts.T
    same = (numbers[:, None] == numbers[None, :]).float()
    targets = same / same.sum(1, keepdim=True)
    return (functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets)) / 2


class Trainer:
    """One run in one folder: `checkpoint.pt`, `log.jsonl` and `recipe.json`; calling `run` again resumes it.

    Args:
        initial: An OpenCLIP checkpoint of the same configuration to start from, for fine-tuning.
    """

    def __init__(
        self,
        recipe: Recipe,
        examples: Sequence[Example],
        out: Path,
        progress: Progress,
        initial: Path | None = None,
    ) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.recipe, self.out, self.progress = recipe, out, progress
        self.preprocessing = Preprocessing.from_open_clip(recipe.preprocess)
        self.data = load_data(examples, self.preprocessing, out / "pixels.npy", progress)
        if len(examples) < recipe.batch_size:
            raise TrainingFailed(f"{len(examples)} examples are fewer than one batch of {recipe.batch_size}")
        self.model = build_model(recipe).to(memory_format=torch.channels_last)
        if initial is not None:
            open_clip.load_checkpoint(self.model, str(initial), strict=True)
        if recipe.unlocked_image_groups is not None:
            self.model.lock_image_tower(unlocked_groups=recipe.unlocked_image_groups)
        self.captions = CaptionTower(self.model, recipe, self.data.texts, progress)
        self.steps = len(examples) // recipe.batch_size
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(_decay_groups(trained, recipe.weight_decay), lr=recipe.learning_rate)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            recipe.learning_rate,
            total_steps=recipe.epochs * self.steps,
            pct_start=recipe.warmup_share,
        )
        self.epoch = 0
        write_json(out / "recipe.json", recipe.model_dump(mode="json"))

    def run(self, validate: Sequence[Example] = ()) -> nn.Module:
        """Train from the last checkpoint to the last epoch; returns the model in evaluation mode."""
        self._resume()
        while self.epoch < self.recipe.epochs:
            started = time.monotonic()
            figures = {"loss": self._train_epoch(), "seconds": time.monotonic() - started}
            if validate:
                figures |= self.validate(validate)
            self.epoch += 1
            self._save(figures)
        return self.model.eval()

    def save_open_clip(self, folder: Path) -> None:
        """Write the model as a folder that `open_clip.create_model("local-dir:FOLDER")` loads."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {"model_cfg": self.recipe.model, "preprocess_cfg": self.recipe.preprocess}
        write_json(folder / "open_clip_config.json", config)
        tokenizer = build_tokenizer(self.recipe)
        if isinstance(tokenizer, open_clip.tokenizer.HFTokenizer):
            tokenizer.save_pretrained(folder)
        state = {name: tensor.contiguous() for name, tensor in self.model.state_dict().items()}
        save_file(state, folder / "open_clip_model.safetensors")

    def _train_epoch(self) -> float:
        self.model.train()
        if self.captions.frozen:
            self.model.text.transformer.eval()
        # Every epoch has a generator of its own, so that a resumed run sees what an unbroken one would.
        torch.manual_seed(self.recipe.seed * 100_003 + self.epoch)
        generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + self.epoch)
        total = 0.0
        for step, rows in enumerate(self._batches(generator), start=1):
            total += self._step(rows, generator)
            figures = {"epoch": self.epoch + 1, "loss": total / step}
            self.progress("train", self.epoch * self.steps + step, self.recipe.epochs * self.steps, figures)
        return total / self.steps

    def _batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        order = torch.randperm(len(self.data.captions), generator=generator)
        yield from order[: self.steps * self.recipe.batch_size].split(self.recipe.batch_size)

    def _step(self, rows: Tensor, generator: torch.Generator) -> float:
        pixels = augment(
            _to_float(self.data.pixels[rows.numpy()]),
            self.recipe.augmentation,
            self.preprocessing.fill_color / 255,
            generator,
        )
        images = functional.normalize(self.model.encode_image(self._normalise(pixels)), dim=-1)
        scale = self.model.logit_scale.exp()
        chosen = self._choose_captions(rows, generator)
        losses = [contrastive_loss(images, self.captions(numbers), numbers, scale) for numbers in chosen]
        loss = torch.stack(losses).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, float(np.log(MAX_LOGIT_SCALE)))
        return loss.item()

    def _choose_captions(self, rows: Tensor, generator: torch.Generator) -> list[Tensor]:
        """The title of each picture, and `captions_per_step - 1` of its other captions."""
        own = [self.data.captions[row] for row in rows.tolist()]
        chosen = [torch.tensor([captions[0] for captions in own])]
        for _ in range(self.recipe.captions_per_step - 1):
            draws = torch.rand(len(own), generator=generator).tolist()
            others = [
                c[1 + int(draw * (len(c) - 1))] if len(c) > 1 else c[0] for c, draw in zip(own, draws, strict=True)
            ]
            chosen.append(torch.tensor(others))
        return chosen

    def _normalise(self, pixels: Tensor) -> Tensor:
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.preprocessing.mean, self.preprocessing.std))
        return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def validate(self, examples: Sequence[Example]) -> dict[str, float]:
        """Text-to-image retrieval with each example's title as the query and all examples as the gallery."""
        self.model.eval()
        held = load_data(examples, self.preprocessing, self.out / "validation.npy", self.progress)
        blocks = np.array_split(held.pixels, max(1, len(examples) // self.recipe.batch_size))
        images = torch.cat([self.model.encode_image(self._normalise(_to_float(block))) for block in blocks])
        titles = build_tokenizer(self.recipe)([example.captions[0] for example in examples])
        texts = torch.cat([self.model.encode_text(chunk) for chunk in titles.split(self.recipe.batch_size)])
        rank = ranks(functional.normalize(texts).numpy(), functional.normalize(images).numpy())
        return {"recall@1": recall_at(rank, 1), "recall@10": recall_at(rank, 10), "mrr": mean_reciprocal_rank(rank)}

    def _resume(self) -> None:
        path = self.out / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, map_location="cpu", weights_only=True)
            if state["recipe"] != self.recipe.model_dump_json():
                raise TrainingFailed(f"{path} belongs to another recipe; use another --out folder")
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.epoch = state["epoch"]

    def _save(self, figures: dict[str, float]) -> None:
        """Checkpoint in one step: a killed run finds the last complete one."""
        state: dict[str, Any] = {
            "recipe": self.recipe.model_dump_json(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "epoch": self.epoch,
        }
        partial = self.out / "checkpoint.pt.partial"
        torch.save(state, partial)
        partial.rename(self.out / "checkpoint.pt")
        line = {"epoch": self.epoch} | {key: round(value, 4) for key, value in figures.items()}
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


def _to_float(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, h, w, 3] -> float32 [n, 3, h, w], 0 to 1, channels last in memory."""
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float().div_(255)


def _decay_groups(parameters: list[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and filters; none for biases, norms and the temperature."""
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
