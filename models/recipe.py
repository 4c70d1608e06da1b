"""A training recipe: the OpenCLIP configuration, the captions and the schedule, as one JSON file."""

import csv
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import TrainingFailed

RECIPES = Path(__file__).parent / "recipes"


class Augmentation(BaseModel):
    """Random changes to a training picture; what is moved in from outside is filled with the padding colour."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: float = Field(default=0.5, ge=0, le=1, description="probability of mirroring")
    shift: float = Field(default=0.08, ge=0, lt=1, description="largest shift, as a share of the side")
    scale: float = Field(default=0.15, ge=0, lt=1, description="largest change of scale, as a share")
    rotate_degrees: float = Field(default=0.0, ge=0, le=180)
    brightness: float = Field(default=0.15, ge=0, lt=1, description="largest change of brightness, as a share")


class Recipe(BaseModel):
    """Everything that decides a training run but the data itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: dict[str, Any] = Field(description="an OpenCLIP model configuration")
    preprocess: dict[str, Any] = Field(description="OpenCLIP's preprocess_cfg")
    captions: list[str] = Field(description="templates over catalogue columns; skipped where a column is empty")
    captions_per_step: int = Field(
        default=1, ge=1, description="captions per picture and step; the first template always"
    )
    lock_text: bool = Field(default=False, description="freeze the text tower; its features are computed once")
    unlocked_image_groups: int | None = Field(
        default=None, ge=1, description="train only the image tower's last groups of layers; null trains all"
    )
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_share: float = Field(default=0.1, gt=0, lt=1, description="share of the steps in which the rate rises")
    augmentation: Augmentation = Augmentation()
    seed: int = 0

    @classmethod
    def load(cls, path: Path) -> "Recipe":
        """Read and check a recipe; raises `TrainingFailed` naming the field that is wrong."""
        try:
            recipe = cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise TrainingFailed(f"recipe {path}: {error}") from error
        text = recipe.model.get("text_cfg", {})
        for key in ("hf_model_name", "hf_tokenizer_name"):
            if str(text.get(key, "")).startswith("package:"):
                text[key] = package_path(text[key])
        return recipe


def package_path(reference: str) -> str:
    """Folder inside an installed package: `package:NAME/FOLDER` -> its path, without importing the package."""
    name, _, inside = reference.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise TrainingFailed(f"{reference}: install the Python package {name} (pip install 'sightline[train]')")
    return str(Path(spec.submodule_search_locations[0]) / inside)


@dataclass(frozen=True)
class Example:
    """One picture and its captions; the first is its title, the others are phrases made from its attributes."""

    image: Path
    captions: tuple[str, ...]
    attributes: dict[str, str]


def read_examples(catalogues: Sequence[Path], templates: Sequence[str], split: str | None) -> list[Example]:
    """Rows of CSV catalogues with an `image` column (relative to the catalogue) as training examples.

    Args:
        split: Keep the rows whose `split` column says so; rows of a catalogue without that column count as `train`.

    Raises:
        TrainingFailed: A catalogue cannot be read, or no row is left.
    """
    examples = []
    for catalogue in catalogues:
        for row in read_rows(catalogue):
            captions = make_captions(row, templates)
            if captions and row.get("image") and split in (None, row.get("split", "train")):
                examples.append(Example(catalogue.parent / row["image"], captions, row))
    if not examples:
        raise TrainingFailed(
            f"no row with an image and a caption in {', '.join(map(str, catalogues))} for split {split!r}"
        )
    return examples


def read_rows(catalogue: Path) -> list[dict[str, str]]:
    """The rows of a CSV catalogue by column; raises `TrainingFailed` when it cannot be read."""
    try:
        with catalogue.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingFailed(f"catalogue {catalogue}: {error}") from error


def make_captions(row: dict[str, str], templates: Sequence[str]) -> tuple[str, ...]:
    """Fill the templates from one row, each at most once; a template with an empty or missing column is skipped."""
    captions = []
    for template in templates:
        columns = [name for _, name, _, _ in Formatter().parse(template) if name]
        if all(row.get(column) for column in columns):
            captions.append(template.format_map(row))
    return tuple(dict.fromkeys(captions))


def write_json(path: Path, value: object) -> None:
    """Write readable JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
