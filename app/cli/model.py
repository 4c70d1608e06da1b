"""`sightline model`: which models there are, one more from OpenCLIP, how fast they are, whether the files are whole."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from app.cli.console import CommandFailed, err, out, print_json
from app.cli.options import AsJson, DataDir, Device, load_settings
from models.errors import ModelError

if TYPE_CHECKING:
    from models.manifest import Precision

cli = typer.Typer(help="Models: list, add, bench, verify.", no_args_is_help=True)


@cli.command("list")
def list_models(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the embedded model and those that were added."""
    from app.schemas.models import Model
    from models.store import ModelStore

    store = ModelStore(load_settings(data_dir=data_dir).models_dir)
    models = [Model.of(name, store.manifest(name)) for name in store.names()]
    if as_json:
        print_json([model.model_dump(mode="json") for model in models])
        return
    table = Table("name", "architecture", "weights", "dimension", "precision", "licence", "fingerprint")
    for model in models:
        table.add_row(
            model.id,
            model.architecture,
            model.pretrained or "its own",
            str(model.dimension),
            model.precision,
            model.licence or "unknown",
            model.fingerprint[:12],
        )
    out.print(table)


@cli.command("add")
def add_model(
    architecture: Annotated[str, typer.Argument(help="OpenCLIP's name, e.g. ViT-B-32, or local-dir:FOLDER.")],
    pretrained: Annotated[
        str | None,
        typer.Option(help="OpenCLIP's tag of the weights, or a checkpoint file; only a folder has its own."),
    ] = None,
    preprocess_tag: Annotated[
        str | None, typer.Option(help="For a checkpoint file: the tag whose preprocessing it was trained with.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name here.", show_default="from the two above")] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    licence: Annotated[str | None, typer.Option(help="Of the weights, where OpenCLIP does not know it.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Export a model of OpenCLIP to ONNX, and measure that it does what the original does."""
    chosen = _precision(precision)
    from app.schemas.models import Model

    try:
        from models.export import export_model
    except ImportError as error:
        raise CommandFailed(f"{error.name} is missing; exporting needs `pip install 'sightline[train]'`") from error
    if pretrained is None and ":" not in architecture:
        raise typer.BadParameter("name a tag or a checkpoint file", param_hint="--pretrained")
    name = name or _default_name(architecture, pretrained)
    folder = load_settings(data_dir=data_dir).models_dir / name
    if name == "default" or folder.exists():
        raise CommandFailed(f"there is a model {name!r} already; choose another --name")
    with err.status(f"Exporting {architecture}"):
        manifest = export_model(
            architecture,
            pretrained,
            folder,
            name=name,
            precision=chosen,
            licence=licence,
            preprocess_tag=preprocess_tag,
        )
    model = Model.of(name, manifest)
    if as_json:
        print_json(model.model_dump(mode="json"))
    else:
        out.print(f"Added {name}: {model.dimension} dimensions, lowest cosine with the original {model.parity}")


@cli.command("bench")
def bench_model(
    name: Annotated[str, typer.Argument(help="Name of the model.")] = "default",
    seconds: Annotated[float, typer.Option(min=0, help="Of each measurement.")] = 2.0,
    device: Device = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Time a model's towers on this machine, by the threads of one run: what SIGHTLINE_THREADS is best."""
    from models.store import ModelStore
    from models.timing import fastest, measure

    settings = load_settings(data_dir=data_dir, device=device)
    timings = []
    with err.status(f"Timing {name}") as status:
        for timing in measure(ModelStore(settings.models_dir).folder(name), settings.device, seconds):
            timings.append(timing)
            status.update(f"Timing {name}: {timing.tower}, {timing.threads} threads")
    if as_json:
        print_json([timing._asdict() for timing in timings])
        return
    table = Table("tower", "threads", "runs at once", "a lone row, ms", "rows/s")
    for timing in timings:
        lone = f"{1000 * timing.lone_s:.1f}"
        table.add_row(timing.tower, str(timing.threads), str(timing.parallel), lone, f"{timing.rows_per_s:.0f}")
    out.print(table)
    out.print(f"Most of both per second with SIGHTLINE_THREADS={fastest(timings)}; now it is {settings.threads}")


@cli.command("verify")
def verify_models(
    names: Annotated[list[str] | None, typer.Argument(help="All models if left out.", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Compare the files of models with the SHA-256 in their manifests."""
    from models.manifest import verify_files
    from models.store import ModelStore

    store = ModelStore(load_settings(data_dir=data_dir).models_dir)
    failed = False
    for name in names or store.names():
        try:
            verify_files(store.folder(name), store.manifest(name))
            out.print(f"{name}: whole", highlight=False, markup=False)
        except ModelError as error:
            failed = True
            out.print(f"{name}: {error}", highlight=False, markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def _precision(value: str) -> "Precision":
    match value:
        case "fp32" | "fp16" | "int8":
            return value
    raise typer.BadParameter("must be fp32, fp16 or int8", param_hint="--precision")


def _default_name(architecture: str, pretrained: str | None) -> str:
    weights = Path(pretrained).stem if pretrained and Path(pretrained).exists() else pretrained
    parts = [architecture.rpartition(":")[2].rstrip("/").rpartition("/")[2], weights]
    joined = "-".join(part for part in parts if part).lower()
    return re.sub(r"[^a-z0-9._-]+", "-", joined).strip("-._")[:100]
