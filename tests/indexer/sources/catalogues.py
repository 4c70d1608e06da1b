"""The same catalogue in every format."""

import csv
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.sources import BadRow, Row
from tests.pictures import picture

COLOURS = ("red", "green", "blue", "yellow", "black")


@dataclass(frozen=True)
class Product:
    """A row: its id, its picture, its text, its metadata."""

    id: str
    image: bytes
    text: str
    price: float
    stock: int


@cache
def _picture(colour: str) -> bytes:
    return picture(colour)


def products(count: int = 50) -> list[Product]:
    """Products of which the pictures repeat."""
    return [
        Product(f"p{n:03}", _picture(COLOURS[n % 5]), f'Café "{COLOURS[n % 5]}", no. {n}', n + 0.5, n)
        for n in range(count)
    ]


def expected(made: list[Product]) -> list[tuple[object, ...]]:
    """What must come of them: number, id, picture, text, metadata."""
    return [(n, p.id, p.image, p.text, {"price": p.price, "stock": p.stock}) for n, p in enumerate(made, start=1)]


def read(rows: "list[Row | BadRow]") -> list[tuple[object, ...]]:
    """Rows as `expected` has them; a bad row is its words."""
    return [
        (
            row.number,
            row.id,
            row.image.read_bytes() if isinstance(row.image, Path) else row.image,
            row.text,
            row.metadata,
        )
        if isinstance(row, Row)
        else (row.number, row.id, row.detail)
        for row in rows
    ]


def fault(row: Row | BadRow) -> str:
    """Why a row has no picture, where the rest of it is good."""
    assert isinstance(row, Row)
    assert row.image is None
    assert row.image_fault
    return row.image_fault


def compress(data: bytes, way: str) -> bytes:
    """Two members, or frames, one after the other, as `cat` and parallel compressors make them."""
    middle = len(data) // 2
    packed = gzip.compress if way == "gz" else lambda part: pa.Codec("zstd").compress(part, asbytes=True)
    return packed(data[:middle]) + packed(data[middle:])


def csv_bytes(made: list[Product]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["sku", "image", "title", "price", "stock"])
    writer.writerows([p.id, f"images/{p.id}.png", p.text, p.price, p.stock] for p in made)
    return text.getvalue().encode()


def json_bytes(made: list[Product]) -> bytes:
    rows = (
        {"sku": p.id, "image": f"images/{p.id}.png", "title": p.text, "price": p.price, "stock": p.stock} for p in made
    )
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def write_images(folder: Path, made: list[Product]) -> None:
    (folder / "images").mkdir(exist_ok=True)
    for p in made:
        (folder / "images" / f"{p.id}.png").write_bytes(p.image)


def write_parquet(path: Path, made: list[Product]) -> None:
    rows = [
        {
            "sku": p.id,
            "image": {"bytes": p.image, "path": f"{p.id}.png"},
            "title": p.text,
            "price": p.price,
            "stock": p.stock,
        }
        for p in made
    ]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def write_tar(path: Path, made: list[Product], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for p in made:
            add(tar, f"{p.id}.png", p.image)
            add(tar, f"{p.id}.txt", p.text.encode())
            add(tar, f"{p.id}.json", json.dumps({"sku": p.id, "price": p.price, "stock": p.stock}).encode())


def write_zip(path: Path, made: list[Product], name: str, data: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
        for p in made:
            archive.writestr(f"{name.rpartition('/')[0]}/images/{p.id}.png".removeprefix("/"), p.image)


def _text(name: str, encode: Callable[[list[Product]], bytes]) -> Callable[[Path, list[Product]], Path]:
    def write(folder: Path, made: list[Product]) -> Path:
        write_images(folder, made)
        data = encode(made)
        way = name.rpartition(".")[2]
        (folder / name).write_bytes(compress(data, way) if way in ("gz", "zst") else data)
        return folder / name

    return write


def _parquet(folder: Path, made: list[Product]) -> Path:
    write_parquet(folder / "catalog.parquet", made)
    return folder / "catalog.parquet"


def _tar(folder: Path, made: list[Product]) -> Path:
    write_tar(folder / "catalog.tar", made)
    return folder / "catalog.tar"


def _tar_gz(folder: Path, made: list[Product]) -> Path:
    write_tar(folder / "catalog.tar.gz", made, "w:gz")
    return folder / "catalog.tar.gz"


def _shards(folder: Path, made: list[Product]) -> Path:
    for n in range(3):
        write_tar(folder / f"shard-{n:03}.tar", made[n * 20 : n * 20 + 20])
    return folder / "shard-{000..002}.tar"


def _shard_folder(folder: Path, made: list[Product]) -> Path:
    return _shards(folder, made).parent


def _zip_csv(folder: Path, made: list[Product]) -> Path:
    write_zip(folder / "shop.zip", made, "shop/catalog.csv", csv_bytes(made))
    return folder / "shop.zip"


def _zip_json(folder: Path, made: list[Product]) -> Path:
    write_zip(folder / "shop.zip", made, "catalog.jsonl.gz", compress(json_bytes(made), "gz"))
    return folder / "shop.zip"


def _zip_parquet(folder: Path, made: list[Product]) -> Path:
    write_parquet(folder / "made.parquet", made)
    write_zip(folder / "shop.zip", [], "catalog.parquet", (folder / "made.parquet").read_bytes())
    (folder / "made.parquet").unlink()
    return folder / "shop.zip"


FORMATS: dict[str, Callable[[Path, list[Product]], Path]] = {
    "csv": _text("catalog.csv", csv_bytes),
    "csv.gz": _text("catalog.csv.gz", csv_bytes),
    "csv.zst": _text("catalog.csv.zst", csv_bytes),
    "csv without a suffix": _text("upload", csv_bytes),
    "jsonl": _text("catalog.jsonl", json_bytes),
    "json": _text("catalog.json", json_bytes),
    "jsonl.gz": _text("catalog.jsonl.gz", json_bytes),
    "jsonl.zst": _text("catalog.jsonl.zst", json_bytes),
    "jsonl named csv": _text("catalog.csv", json_bytes),
    "parquet": _parquet,
    "tar": _tar,
    "tar.gz": _tar_gz,
    "shards": _shards,
    "folder of shards": _shard_folder,
    "zip with csv": _zip_csv,
    "zip with jsonl.gz": _zip_json,
    "zip with parquet": _zip_parquet,
}
