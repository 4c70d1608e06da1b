"""Which column of a catalogue holds what, and how that is guessed from the columns' names."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from indexer.errors import SourceInvalid

_IDS = "id item_id sku product_id article_id variant_sku uid uuid key asin gtin ean handle"
_IMAGES = (
    "image image_path image_url image_link image_src image_file main_image img img_url picture picture_url photo "
    "photo_url file filename file_name filepath path images image_urls pictures photos thumbnail url"
)
_TEXTS = "text title name caption description product_name product_display_name prod_name headline label"
_WITHIN_AN_IMAGE = ("bytes", "url", "src", "href", "path")


@dataclass(frozen=True)
class Mapping:
    """Which columns hold what; those in `metadata` are kept as metadata, where that is None all others.

    A field of a nested column is named with dots, `image.bytes`.
    """

    id: str | None
    image: str | None
    text: str | None
    metadata: tuple[str, ...] | None = None


def guess_mapping(columns: Sequence[str]) -> Mapping:
    """Columns by their usual names, however they are spelled; every other column becomes metadata."""
    spelled = {_plain(column): column for column in reversed(columns) if column.strip()}
    id_, image, text = _first(spelled, _IDS), _guess_image(spelled), _first(spelled, _TEXTS)
    mapping = Mapping(id_, image, text)
    return replace(mapping, metadata=tuple(_unchosen(columns, columns, _roles(mapping))))


def guess_nested(columns: Sequence[str], kept: Sequence[str]) -> Mapping:
    """As `guess_mapping`; the metadata come from `kept`, whole objects where no role takes a field of theirs."""
    guess = guess_mapping(columns)
    return replace(guess, metadata=tuple(_unchosen(kept, columns, _roles(guess))))


def check_mapping(name: str, columns: Sequence[str], given: Mapping | None, guess: Mapping) -> Mapping:
    """The given mapping or the guess, whole, if the catalogue has its columns and an item can come of them.

    Raises:
        SourceInvalid: It has not, or none can.
    """
    mapping = given or guess
    if mapping.metadata is None:
        kept = [*(guess.metadata or ()), *(column for column in _roles(guess) if not column.startswith("__"))]
        mapping = replace(mapping, metadata=tuple(_unchosen(kept, columns, _roles(mapping))))
    known = set(columns)
    named = [*_roles(mapping), *(mapping.metadata or ())]
    missing = [name for name in named if name not in known and not _is_object(name, columns)]
    if missing:
        raise SourceInvalid(f"{name} has no column {_listed(missing)}; it has {_listed(columns)}")
    if mapping.image is None and mapping.text is None:
        raise SourceInvalid(
            f"{name} has no column for images or texts among {_listed(columns)}; name one by --image or --text "
            "(the command line), or in `mapping` (the API)"
        )
    return mapping


def _roles(mapping: Mapping) -> list[str]:
    return [column for column in (mapping.id, mapping.image, mapping.text) if column]


def _plain(column: str) -> str:
    return re.sub(r"[\s_-]+", "", column).lower()


def _first(spelled: dict[str, str], names: str) -> str | None:
    return next((spelled[_plain(name)] for name in names.split() if _plain(name) in spelled), None)


def _guess_image(spelled: dict[str, str]) -> str | None:
    plain = _first(spelled, _IMAGES)
    if plain is not None:
        return plain
    for name in map(_plain, _IMAGES.split()):
        found = [spelled[f"{name}.{field}"] for field in _WITHIN_AN_IMAGE if f"{name}.{field}" in spelled]
        if f"{name}.bytes" in spelled and f"{name}.path" in spelled:  # as Hugging Face writes pictures
            return found[0].rpartition(".")[0]
        if found:
            return found[0]
    return None


def _unchosen(kept: Iterable[str], columns: Sequence[str], chosen: list[str]) -> Iterable[str]:
    for name in kept:
        if not name.strip() or any(name == column or name.startswith(f"{column}.") for column in chosen):
            continue
        if any(column.startswith(f"{name}.") for column in chosen):
            yield from (column for column in columns if column.startswith(f"{name}.") and column not in chosen)
        else:
            yield name


def _is_object(name: str, columns: Sequence[str]) -> bool:
    return any(column.startswith(f"{name}.") for column in columns)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(column[:60] for column in columns[:30])
    return f"{shown} and {len(columns) - 30} more" if len(columns) > 30 else shown
