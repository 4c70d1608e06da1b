"""`sightline train` and `sightline eval`: a model for one's own catalogue, and how good a model is on one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.cli.console import CommandFailed, err, out, print_json
from app.cli.options import AsJson, DataDir, Device, ModelName, load_settings
from models.errors import ModelError

if TYPE_CHECKING:
    from models.evaluation import Figures
    from models.recipe import Example

Catalogues = Annotated[list[Path], typer.Argument(help="CSV catalogues with an image column.", exists=True)]


def train(
    catalogues: Catalogues,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder of the run; an unfinished run there is resumed.")],
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe (JSON).", show_default="that of the embedded model", exists=True)
    ] = None,
    initial: Annotated[
        Path | None, typer.Option(help="OpenCLIP checkpoint of the same configuration to start from.", exists=True)
    ] = None,
    split: Annotated[str, typer.Option(help="Rows to train on, by their split column.")] = "train",
    validate: Annotated[str | None, typer.Option(help="Rows to measure on after every epoch.")] = "val",
) -> None:
    """Train an OpenCLIP model on a catalogue of pictures and texts; needs the train extra."""
    try:
        from models.train import Trainer
    except ImportError as error:
        raise CommandFailed(f"{error.name} is missing; training needs `pip install 'sightline[train]'`") from error
    from models.recipe import RECIPES, Recipe, read_examples

    chosen = Recipe.load(recipe or RECIPES / "default.json")
    examples = read_examples(catalogues, chosen.captions, split)
    held_out = _held_out(catalogues, chosen.captions, validate)
    with _Bars() as bars:
        trainer = Trainer(chosen, examples, out_dir, bars.show, initial)
        trainer.run(held_out)
    folder = out_dir / chosen.name
    trainer.save_open_clip(folder)
    added = f"Trained. Add it to the server's models with:\n  sightline model add local-dir:{folder} --name NAME"
    out.print(added, highlight=False, markup=False, soft_wrap=True)


def evaluate(
    catalogues: Catalogues,
    split: Annotated[str | None, typer.Option(help="Only rows of this split.")] = None,
    title: Annotated[str, typer.Option(help="Column with the texts that ask for their own picture.")] = "title",
    label: Annotated[str, typer.Option(help="Column with the kind of thing a picture shows.")] = "article_type",
    model: ModelName = None,
    device: Device = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Measure text-to-image retrieval on a catalogue: each title must find its own picture among all."""
    from models.encoder import DualEncoder
    from models.evaluation import evaluate_catalogue
    from models.store import ModelStore

    settings = load_settings(data_dir=data_dir, model=model, device=device)
    encoder = DualEncoder.open(ModelStore(settings.models_dir).folder(settings.model), device=settings.device)
    with _Bars() as bars:
        figures = evaluate_catalogue(encoder, catalogues, split=split, title=title, label=label, progress=bars.show)
    if as_json:
        print_json({"model": settings.model, "fingerprint": encoder.fingerprint} | figures._asdict())
    else:
        out.print(_figures_table(settings.model, figures))


def _held_out(catalogues: list[Path], captions: list[str], split: str | None) -> "list[Example]":
    from models.recipe import read_examples

    try:
        return [] if split is None else read_examples(catalogues, captions, split)
    except ModelError:
        err.print(f"No row has the split {split!r}: the run is not validated.")
        return []


def _figures_table(model: str, figures: "Figures") -> Table:
    table = Table("measure", "value", title=f"{model}: {figures.queries} titles over {figures.gallery} pictures")
    for name in ("recall_at_1", "recall_at_10", "mean_reciprocal_rank"):
        table.add_row(name.replace("_", " "), f"{getattr(figures, name):.4f}")
    if figures.labels:
        table.add_row(f"precision at 10 of {figures.labels} labels", f"{figures.label_precision_at_10:.4f}")
    return table


class _Bars(Progress):
    """One bar for each stage of the work, with the figures so far."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        super().__init__(*columns, console=err)
        self._stages: dict[str, TaskID] = {}

    def show(self, stage: str, done: int, total: int, figures: dict[str, float]) -> None:
        """Advance a stage's bar."""
        if stage not in self._stages:
            self._stages[stage] = self.add_task(stage)
        shown = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.update(self._stages[stage], completed=done, total=total, description=f"{stage} {shown}".rstrip())
