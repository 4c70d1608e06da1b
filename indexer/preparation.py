"""From new items to changes: limits and safe decode, content hash, embedding of what is new.

A picture is decoded once, and embedded for each generation that takes in what is written: `encoders` are theirs by the
generation's primary key, the active one's first.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from indexer.errors import FingerprintMismatch, IndexerError, ItemInvalid, VectorInvalid
from indexer.stores.catalogue import StoredItem
from indexer.stores.writing import Change
from indexer.types import MODALITIES, Failed, Modality, NewItem, Vector
from models.encoder import Encoder
from models.errors import ModelError
from models.imaging import ImageLimits, decode_image, image_type

CHUNK = 32
"""Items drafted at a time, so that a batch of many pictures does not lie in memory decoded all at once."""

MAX_ID_LENGTH = 256

Encoders: TypeAlias = Mapping[int, Encoder]
"""The encoder of each generation that takes in what is written, by its primary key; the active one's first."""


@dataclass(frozen=True)
class Draft:
    """An item that changed, checked, its picture decoded and resized, before it is embedded."""

    item: NewItem
    image_sha256: str | None
    pixels: Mapping[int, NDArray[np.uint8]]
    """What each generation is to embed, nothing where its vector is given or the picture is not new."""
    mime: str | None
    texts: frozenset[int]
    """Generations that are to embed the text."""
    given: dict[Modality, Vector]
    """Vectors of the active generation that a client made."""
    kept: tuple[Modality, ...]
    source_url: str | None


@dataclass(frozen=True)
class Prepared:
    """A change ready to be committed."""

    change: Change
    image: bytes | None
    truncated: bool
    generations: frozenset[int]
    """Those that it is ready for."""


def prepare(
    new: Sequence[NewItem], known: Mapping[str, StoredItem], encoders: Encoders, limits: ImageLimits
) -> dict[str, Prepared | Failed]:
    """Check, decode and embed items with different ids; only pictures and texts that changed are embedded.

    Returns:
        By id what to write, or why it cannot be; an unchanged item is not in the result.
    """
    made: dict[str, Prepared | Failed] = {}
    for start in range(0, len(new), CHUNK):
        drafts = []
        for item in new[start : start + CHUNK]:
            try:
                drafted = draft(item, known.get(item.id), encoders, limits)
            except (ModelError, IndexerError) as error:
                made[item.id] = Failed(item.id, error)
                continue
            if drafted is not None:
                drafts.append(drafted)
        made.update(embed(drafts, encoders))
    return made


def draft(item: NewItem, known: StoredItem | None, encoders: Encoders, limits: ImageLimits) -> Draft | None:
    """Check an item against what is stored of it, and decode and resize its picture; None when it is unchanged.

    Raises:
        ItemInvalid: It cannot be stored, or has no content.
        VectorInvalid, FingerprintMismatch: Its vectors cannot be used.
        ImageError: Its picture cannot be used.
    """
    if error := check_id(item.id):
        raise error
    given = _given_vectors(item, next(iter(encoders.values())))
    _check_storable(item)
    sha256 = _image_sha256(item, known)
    if sha256 is None and not has_words(item.text) and not given:
        raise ItemInvalid("an item needs an image or a text that is not blank")
    if known and known.content_hash == content_hash(item, sha256):
        return None
    kept = _kept(item, sha256, known, given)
    pixels, mime = {}, known.item.image_type if known else None
    if item.image is not None and "image" not in kept:
        to_embed = _without_given(encoders, "image", given)
        pixels = make_pixels(item.image, limits, to_embed)
        mime = image_type(item.image)
    embed_text = has_words(item.text) and "text" not in kept
    texts = frozenset(_without_given(encoders, "text", given)) if embed_text else frozenset[int]()
    same_picture = known is not None and known.item.image_sha256 == sha256
    source_url = item.source_url or (known.source_url if known and same_picture else None)
    return Draft(item, sha256, pixels, mime if sha256 else None, texts, given, kept, source_url)


def make_pixels(data: bytes, limits: ImageLimits, encoders: Encoders) -> dict[int, NDArray[np.uint8]]:
    """Decode a picture, once, and resize it for each encoder; raises `ImageError`."""

    def enough(size: tuple[int, int]) -> tuple[int, int]:
        sizes = [encoder.enough(size) for encoder in encoders.values()]
        return max((width for width, _ in sizes), default=1), max((height for _, height in sizes), default=1)

    picture = decode_image(data, limits, enough)
    return {generation: encoder.preprocess(picture) for generation, encoder in encoders.items()}


def embed(drafts: Sequence[Draft], encoders: Encoders) -> dict[str, Prepared | Failed]:
    """Embed what is new in each draft, all of it together; by id what to write, or why it cannot be."""
    active = next(iter(encoders))
    embedded = {generation: _embed(drafts, generation, encoder) for generation, encoder in encoders.items()}
    return {
        draft.item.id: _prepared(draft, active, {pk: rows[number] for pk, rows in embedded.items()})
        for number, draft in enumerate(drafts)
    }


def check_id(id_: str) -> ItemInvalid | None:
    """What is wrong with an item's id, if anything."""
    if not 1 <= len(id_) <= MAX_ID_LENGTH:
        return ItemInvalid(f"an id has 1 to {MAX_ID_LENGTH} characters", "/id")
    try:
        id_.encode()
    except UnicodeEncodeError:
        return ItemInvalid("an id must be valid Unicode", "/id")
    return None


def check_vector(values: Sequence[float], dimension: int, pointer: str) -> Vector:
    """A client's vector as unit-length float32 [dimension].

    Raises:
        VectorInvalid: Another length, a value that is not finite, or all zeros.
    """
    if len(values) != dimension:
        raise VectorInvalid(f"the vector has {len(values)} values; the model's embeddings have {dimension}", pointer)
    vector = np.asarray(values, dtype=np.float64)
    norm = math.sqrt(vector @ vector)
    if not math.isfinite(norm) or norm == 0:  # which it is not where a value is not
        raise VectorInvalid("the vector must be finite and not zero", pointer)
    return np.asarray(vector / norm, dtype=np.float32)


def content_hash(item: NewItem, image_sha256: str | None) -> str:
    """SHA-256 (hex) over all that an item consists of; equal hashes mean that nothing changed."""
    given = item.vectors or {}
    content = [image_sha256, item.text, item.metadata, sorted(given), item.fingerprint]
    hashed = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for _, values in sorted(given.items()):
        hashed.update(np.asarray(values, dtype="<f8").tobytes())  # as JSON they would take longer than all the rest
    return hashed.hexdigest()


def _image_sha256(item: NewItem, known: StoredItem | None) -> str | None:
    if item.image is not None:
        return hashlib.sha256(item.image).hexdigest()
    return known.item.image_sha256 if item.keep_image and known else None


def _check_storable(item: NewItem) -> None:
    """Refuse what neither the catalogue nor JSON can hold: lone surrogates, NaN, objects, too deep a nesting."""
    for field, value in (("text", item.text), ("metadata", item.metadata)):
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ItemInvalid(f"the {field} cannot be stored: {error}", f"/{field}") from error


def has_words(text: str | None) -> bool:
    """Whether there is anything in a text to embed."""
    return bool(text and text.strip())


def is_usable(vector: Vector) -> bool:
    """One NaN (half precision can overflow) would make every mean over the collection NaN, and so every score."""
    length = float(vector @ vector)
    return math.isfinite(length) and length > 0


def _given_vectors(item: NewItem, encoder: Encoder) -> dict[Modality, Vector]:
    if not item.vectors:
        return {}
    if item.fingerprint != encoder.fingerprint:
        raise FingerprintMismatch(
            f"the vectors were made by model {item.fingerprint}; the collection's is {encoder.fingerprint}",
            "/fingerprint",
        )
    return {
        modality: check_vector(values, encoder.dimension, f"/vectors/{modality}")
        for modality, values in item.vectors.items()
    }


def _kept(
    item: NewItem, sha256: str | None, known: StoredItem | None, given: Mapping[Modality, Vector]
) -> tuple[Modality, ...]:
    """Modalities whose stored vector is still right; one that a client gave is not known to be of this content."""
    if known is None:
        return ()
    same = {
        "image": sha256 is not None and sha256 == known.item.image_sha256,
        "text": has_words(item.text) and item.text == known.item.text,
    }
    reusable = set(known.item.modalities) - known.given - given.keys()
    return tuple(modality for modality in MODALITIES if same[modality] and modality in reusable)


def _without_given(encoders: Encoders, modality: Modality, given: Mapping[Modality, Vector]) -> Encoders:
    """Those that are to embed a modality: a client gives the vector of the active generation only."""
    active = next(iter(encoders))
    return {pk: encoder for pk, encoder in encoders.items() if pk != active or modality not in given}


class _Embedded(NamedTuple):
    vectors: dict[Modality, Vector]
    truncated: bool


def _embed(drafts: Sequence[Draft], generation: int, encoder: Encoder) -> list[_Embedded]:
    """What one encoder makes of each draft."""
    pictures = [draft.pixels[generation] for draft in drafts if generation in draft.pixels]
    texts = [draft.item.text or "" for draft in drafts if generation in draft.texts]
    image_vectors = iter(encoder.encode_pixels(pictures))
    embedded = encoder.encode_texts(texts)
    text_vectors = iter(zip(embedded.vectors, embedded.truncated.tolist(), strict=True))
    rows = []
    for draft in drafts:
        vectors: dict[Modality, Vector] = {}
        truncated = False
        if generation in draft.pixels:
            vectors["image"] = next(image_vectors)
        if generation in draft.texts:
            vectors["text"], truncated = next(text_vectors)
        rows.append(_Embedded(vectors, truncated))
    return rows


def _prepared(draft: Draft, active: int, embedded: Mapping[int, _Embedded]) -> Prepared | Failed:
    vectors = {pk: dict(row.vectors) for pk, row in embedded.items()}
    vectors[active] |= draft.given
    for modality, vector in vectors[active].items():
        if not is_usable(vector):
            return Failed(
                draft.item.id, ItemInvalid(f"the model makes no usable vector of this {modality}", f"/{modality}")
            )
    # What a generation that is not active cannot embed is no reason to refuse the item.
    usable = {pk: {m: vector for m, vector in row.items() if is_usable(vector)} for pk, row in vectors.items()}
    return Prepared(_change(draft, usable), draft.item.image, embedded[active].truncated, frozenset(embedded))


def _change(draft: Draft, vectors: Mapping[int, Mapping[Modality, Vector]]) -> Change:
    item = draft.item
    return Change(
        id=item.id,
        text=item.text,
        metadata=item.metadata,
        image_sha256=draft.image_sha256,
        image_type=draft.mime,
        source_url=draft.source_url,
        content_hash=content_hash(item, draft.image_sha256),
        vectors=vectors,
        kept=draft.kept,
        given=frozenset(draft.given),
    )
