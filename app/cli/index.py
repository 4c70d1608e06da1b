"""`sightline index`: what can be done with the index while no server runs on the data folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import CommandFailed, out
from app.cli.options import DataDir, load_settings, require_catalogue

if TYPE_CHECKING:
    from indexer.collection import Collection

cli = typer.Typer(help="Care for the index of a data folder on which no server runs.", no_args_is_help=True)

One = Annotated[str | None, typer.Option("--collection", help="Only this collection.", show_default="all")]

SHOWN_PROBLEMS = 20


@cli.command()
def verify(data_dir: DataDir = None, collection: One = None) -> None:
    """Compare each index with its catalogue, vector by vector. Exits with 1 if they differ.

    Segments on the disk that cannot be used are told, too; they are dropped, and the catalogue is read instead.
    """
    problems = 0
    with _collections(data_dir, collection) as collections:
        for one in collections:
            found = [*one.unusable, *one.verify()]
            out.print(f"{_describe(one)}, {len(found)} problems", markup=False, highlight=False)
            for problem in found[:SHOWN_PROBLEMS]:
                out.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
            problems += len(found)
    if problems:
        raise CommandFailed(
            f"{problems} differences between index and catalogue; `sightline index rebuild` makes the index anew"
        )


@cli.command()
def compact(data_dir: DataDir = None, collection: One = None) -> None:
    """Merge each index into one segment, without what was deleted."""
    with _collections(data_dir, collection) as collections:
        for one in collections:
            before = one.segments
            one.compact()
            out.print(f"{_describe(one)}, {before} segments became {one.segments}", markup=False, highlight=False)


@cli.command()
def rebuild(data_dir: DataDir = None, collection: One = None) -> None:
    """Drop each index and build it anew from the catalogue."""
    from app.cli.progress import counting

    with _collections(data_dir, collection) as collections:
        for one in collections:
            with counting(f"Building {one.name}", sum(one.info().vectors.values())) as report:
                one.rebuild(report)
            out.print(f"{_describe(one)}, built anew", markup=False, highlight=False)


@cli.command()
def tune(
    recall: Annotated[float, typer.Option(min=0.5, max=1.0, help="Recall@10 against exact search.")] = 0.98,
    data_dir: DataDir = None,
    collection: One = None,
) -> None:
    """Set how wide searches are to the least that finds this share of what exact ones find."""
    with _collections(data_dir, collection) as collections:
        for one in collections:
            one.tune(recall)
            out.print(_describe(one), markup=False, highlight=False)
            for line in _tunings(one):
                out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _collections(data_dir: DataDir, name: str | None) -> Iterator[list["Collection"]]:
    """All collections of a data folder, or one, with the folder locked."""
    from app.encoders import Encoders
    from indexer.collections import Collections
    from indexer.index.hardware import Hardware
    from models.store import ModelStore

    settings = load_settings(data_dir=data_dir)
    require_catalogue(settings.data_dir)
    hardware = Hardware.of(settings.index_memory_bytes, "cpu")
    encoders = Encoders(settings, ModelStore(settings.models_dir))
    with Collections(settings.data_dir, encoders, hardware=hardware) as collections:
        names = [name] if name else [info.name for info in collections.infos()]
        yield [collections.get(name) for name in names]


def _describe(collection: "Collection") -> str:
    vectors = collection.info().vectors
    return f"{collection.name}: {vectors['image']} image and {vectors['text']} text vectors"


def _tunings(collection: "Collection") -> Iterator[str]:
    for modality, segments in collection.info().index.segments.items():
        for segment in segments:
            if segment.tuning is None:
                yield f"{modality}, {segment.vectors} vectors: flat, which is exact"
                continue
            found = segment.tuning
            measured = ", ".join(f"{recall:.3f} of {kind} queries" for kind, recall in found.recall.items())
            widths = f"nprobe {found.nprobe}" + (f", ef_search {found.ef_search}" if found.ef_search else "")
            yield f"{modality}, {segment.vectors} vectors: {segment.kind}, recall {measured}; {widths}"
