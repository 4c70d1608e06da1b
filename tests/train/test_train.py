"""Training: it learns, it can be stopped at any epoch, and equal captions are no wrong answers."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="training needs the train extra")

from models.errors import TrainingFailed
from models.recipe import Recipe, read_examples
from models.train import Trainer, contrastive_loss

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("default")]

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 60), "blue": (30, 60, 200), "yellow": (230, 210, 40)}


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """Plain pictures in four colours, with noise."""
    rng = np.random.default_rng(0)
    with (tmp_path / "catalog.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "image", "split"])
        for number in range(64):
            name = list(COLOURS)[number % 4]
            pixels = rng.normal(COLOURS[name], 20, (32, 24, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number}.png")
            writer.writerow([number, f"{name} thing", f"{number}.png", "val" if number >= 48 else "train"])
    return tmp_path / "catalog.csv"


def recipe(epochs: int = 4) -> Recipe:
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    return Recipe(
        name="small", model={"embed_dim": 16, "vision_cfg": vision, "text_cfg": text},
        preprocess={"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"},
        captions=["{title}"], epochs=epochs, batch_size=16, learning_rate=1e-2,
    )  # fmt: skip


def train(catalogue: Path, out: Path, epochs: int = 4) -> list[dict[str, float]]:
    made = recipe(epochs)
    trainer = Trainer(made, read_examples([catalogue], made.captions, "train"), out, lambda *_: None)
    trainer.run(read_examples([catalogue], made.captions, "val"))
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls_and_the_run_is_the_same_when_it_was_stopped(catalogue: Path, tmp_path: Path) -> None:
    whole = train(catalogue, tmp_path / "whole", epochs=8)
    assert whole[-1]["loss"] < 0.9 * whole[0]["loss"]
    made = recipe(8)
    stopped = Trainer(made, read_examples([catalogue], made.captions, "train"), tmp_path / "parts", lambda *_: None)
    validate, calls = stopped.validate, []

    def stop(examples: object) -> dict[str, float]:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(1)
        return validate(examples)

    stopped.validate = stop
    with pytest.raises(KeyboardInterrupt):
        stopped.run(read_examples([catalogue], made.captions, "val"))
    parts = train(catalogue, tmp_path / "parts", epochs=8)
    assert [line["loss"] for line in parts] == pytest.approx([line["loss"] for line in whole], abs=1e-4)


def test_a_trained_model_is_loaded_by_open_clip(catalogue: Path, tmp_path: Path) -> None:
    import open_clip

    made = recipe(1)
    trainer = Trainer(made, read_examples([catalogue], made.captions, "train"), tmp_path / "run", lambda *_: None)
    trainer.run()
    trainer.save_open_clip(tmp_path / "run" / "openclip")
    loaded = open_clip.create_model(f"local-dir:{tmp_path / 'run' / 'openclip'}").eval()
    ids = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'run' / 'openclip'}")(["red thing"])
    with torch.inference_mode():
        assert torch.allclose(loaded.encode_text(ids), trainer.model.encode_text(ids), atol=1e-6)


def test_a_run_folder_of_another_recipe_is_refused(catalogue: Path, tmp_path: Path) -> None:
    train(catalogue, tmp_path / "run", epochs=1)
    with pytest.raises(TrainingFailed, match="another recipe"):
        train(catalogue, tmp_path / "run", epochs=2)


def test_equal_captions_share_the_target() -> None:
    images = torch.nn.functional.normalize(torch.eye(3), dim=-1)
    texts = torch.stack([images[0], images[0], images[2]])
    numbers = torch.tensor([5, 5, 7])
    shared = contrastive_loss(torch.stack([images[0], images[0], images[2]]), texts, numbers, torch.tensor(50.0))
    assert shared.item() == pytest.approx(np.log(2) * 2 / 3, abs=1e-3)
    different = contrastive_loss(images, images, torch.arange(3), torch.tensor(50.0))
    assert different.item() == pytest.approx(0, abs=1e-3)
