"""`Collection`: items in, hits out; the write path and the read path of one collection."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image
from sqlalchemy import Connection

from indexer.commits import Also, GroupCommit, Write
from indexer.cursors import decode_cursor, encode_cursor
from indexer.errors import CollectionNotFound, GenerationConflict, ItemNotFound, OriginalMissing
from indexer.generation import Generation
from indexer.generations import EncoderOf, Generations
from indexer.index.hardware import Hardware
from indexer.index.vector_index import VectorIndex
from indexer.preparation import Prepared, check_id, prepare
from indexer.quality.report import Quality
from indexer.quality.selection import Method, Points, select
from indexer.rules.judgement import Judgement
from indexer.rules.rules import Rules
from indexer.search.columns import Columns
from indexer.search.embedding import embed_terms
from indexer.search.filters import Filter
from indexer.search.fusion import mean_vector
from indexer.search.searcher import fits
from indexer.stores.catalogue import Catalogue, CollectionRow, StoredItem, to_float16
from indexer.stores.changes import NOWHERE, FellBehind
from indexer.stores.database import Database, chunks
from indexer.stores.generations import GenerationStore
from indexer.stores.originals import Originals
from indexer.stores.writing import Written
from indexer.types import (
    MODALITIES,
    CollectionInfo,
    CollectionSettings,
    Duplicate,
    Failed,
    IndexInfo,
    Item,
    Modality,
    NewItem,
    Outcome,
    Representative,
    SearchOutcome,
    SearchRequest,
    SearchResult,
    Term,
    Upserted,
    Vector,
)
from models.encoder import Encoder
from models.imaging import ImageLimits
from models.lanes import Lanes
from models.saliency import SaliencyMap, occlusion_map

log = logging.getLogger(__name__)

NEAR_DUPLICATE = 0.98
"""Cosine of two image vectors from which their pictures count as near duplicates."""
MAX_DUPLICATES = 5
DELETED_AT_ONCE = 800
"""Items of many: with the vectors of two generations they are few enough for `indexer.stores.changes` to name them."""
RECENT_QUERIES = 100
"""Kept to compare models by."""


class Collection:
    """A named set of items with one active generation. Thread-safe; made by `indexer.collections.Collections`."""

    def __init__(
        self,
        row: CollectionRow,
        database: Database,
        catalogue: Catalogue,
        originals: Originals,
        index_folder: Path,
        encoder_of: EncoderOf,
        limits: ImageLimits,
        hardware: Hardware,
        lanes: Lanes,
    ) -> None:
        self._catalogue, self._originals, self.limits = catalogue, originals, limits
        self.lanes = lanes
        """In which who is served goes before its jobs."""
        # Held from before a commit until the index has taken it over: catalogue and index change as one.
        self._writes = threading.RLock()
        self._group_commit = GroupCommit(self._writes, self._commit)
        self._closed = threading.Event()
        self._columns = Columns(partial(catalogue.metadata, row.pk))
        # Where it is in the log of changes; and SQLite counts one by one, which no search should wait for.
        self._position, self._count = catalogue.mark(row.pk)
        self._texts = catalogue.texts(row.pk)

        def open_(row: CollectionRow, encoder: Encoder) -> Generation:
            folder = index_folder / str(row.generation_pk)
            return Generation(
                row,
                catalogue,
                folder,
                encoder,
                limits,
                self._columns,
                hardware=hardware,
                count_items=lambda: self._count,
                writes=self._writes,
                check_open=self._check_open,
            )

        store = GenerationStore(database)
        self.recent_queries: deque[str] = deque(maxlen=RECENT_QUERIES)
        """Texts that were searched for, the latest last; in memory only."""
        self.generations = Generations(store, catalogue, row, encoder_of, open_, self._writes)
        self.rules = Rules(database, catalogue, limits, lambda: self.generations.active)

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._row.name

    @property
    def pk(self) -> int:
        """Its primary key, which a collection of the same name made later does not have."""
        return self._row.pk

    @property
    def settings(self) -> CollectionSettings:
        """What it was made with."""
        return self._row.settings

    @property
    def encoder(self) -> Encoder:
        """The model of the active generation."""
        return self.generations.active.encoder

    def info(self) -> CollectionInfo:
        """Counts, the model and the state of the index."""
        active = self.generations.active
        sizes = [index.sizes for index in active.indexes.values()]
        main, delta, memory = (sum(column) for column in zip(*sizes, strict=True))
        segments = {modality: index.segments for modality, index in active.indexes.items()}
        largest = max(chain(*segments.values()), key=lambda segment: segment.vectors, default=None)
        return CollectionInfo(
            name=self.name,
            settings=active.row.settings,
            fingerprint=active.row.fingerprint,
            dimension=active.row.dimension,
            model_present=active.can_embed,
            generation=active.number,
            items=self._count,
            vectors={modality: index.count for modality, index in active.indexes.items()},
            index=IndexInfo(largest.kind if largest else "flat", main, delta, memory, segments),
            created_at=active.row.created_at,
        )

    # Writing

    def upsert(self, new: Sequence[NewItem], *, find_duplicates: bool = False) -> list[Upserted | Failed]:
        """Create, update or leave unchanged; when it returns, what it reports as stored is durable and searchable.

        Items are written in one transaction; an id that comes again begins the next one. A bad item is reported in
        its place and stops no other.

        Args:
            find_duplicates: Also look for items with the same or nearly the same picture.

        Returns:
            One result per item, in order.
        """
        results: list[Upserted | Failed] = []
        with self.lanes.first():
            for batch in _batches_of_different_ids(new):
                stored = self._upsert_different(batch)
                results += [stored[item.id] for item in batch]
            if find_duplicates:
                return [self._with_duplicates(one) if isinstance(one, Upserted) else one for one in results]
        return results

    def known(self, ids: Sequence[str]) -> dict[str, StoredItem]:
        """The stored items with these ids, those there are; see `store`."""
        return self._catalogue.items(self._row.pk, ids)

    def stored(self, pks: Sequence[int]) -> dict[int, StoredItem]:
        """The stored items with these primary keys, those there are."""
        return self._catalogue.items_by_pk(pks)

    def store(
        self,
        new: Sequence[NewItem],
        known: Mapping[str, StoredItem],
        prepared: Mapping[str, Prepared | Failed],
        also: Also | None = None,
    ) -> dict[str, Outcome]:
        """Commit prepared items with different ids in one transaction and bring them into the index.

        What others store at the same time may be in that transaction, too; see `indexer.commits`.

        Args:
            known: What was stored of them when they were prepared; those that changed since are prepared anew.
            also: What else the transaction does; it is then of these items alone.
        """
        ids = [item.id for item in new]
        write = Write(ids, known, prepared, self._judge(prepared, known), also)
        while not self._group_commit(write):
            known = self.known(ids)
            prepared = prepare(new, known, self.generations.encoders, self.limits)
            write = Write(ids, known, prepared, self._judge(prepared, known), also)
        self._compact_if_needed()
        return write.outcomes

    def delete(
        self, ids: Sequence[str] | Callable[[], Sequence[str]], also: Callable[[Connection], None] = lambda _: None
    ) -> int:
        """Remove items; no later search finds them. Returns how many of the ids there were.

        Args:
            ids: Or what chooses them, which is called while nobody else writes.
            also: What else the transaction does, where any id is given.
        """
        with self._writes:
            self._check_open()
            chosen = ids() if callable(ids) else ids
            if not chosen:
                return 0
            forget = partial(self.rules.forget, ids=chosen)
            deleted, pictures, written = self._catalogue.delete(self._row, chosen, partial(_both, forget, also))
            self._take_over(written)
        # Without the lock: a compaction that runs needs it to end.
        self._originals.remove(pictures, self._catalogue.referenced_images)
        self._compact_if_needed()
        return deleted

    def delete_matching(self, filter_: Filter) -> int:
        """Remove the items that match now and still do when their turn comes; returns how many they were."""
        pks = self._columns.select(filter_).items.pks.tolist()
        return sum(self.delete(partial(self._still_matching, chunk, filter_)) for chunk in chunks(pks, DELETED_AT_ONCE))

    # Reading

    def get(self, id_: str) -> Item:
        """One item; raises `ItemNotFound`."""
        return self._stored(id_).item

    def get_some(self, ids: Sequence[str]) -> dict[str, Item]:
        """The items with these ids, those there are."""
        return {id_: stored.item for id_, stored in self._catalogue.items(self._row.pk, ids).items()}

    def items(
        self, limit: int, cursor: str | None = None, filter_: Filter | None = None
    ) -> tuple[list[Item], str | None]:
        """A page of the items that match, in order of creation, and the cursor of the next page, None after the last.

        Raises:
            CursorInvalid: Not a cursor of this method.
        """
        after = decode_cursor(cursor)
        if filter_ is not None:
            return self._matching_page(filter_, limit, after)
        page = self._catalogue.page(self._row.pk, limit + 1, after)
        more = len(page) > limit
        page = page[:limit]
        return [stored.item for stored in page], encode_cursor(page[-1].pk) if more else None

    def original(self, item: Item) -> bytes:
        """The bytes of an item's picture; raises `OriginalMissing` where they are not stored."""
        data = self._originals.read(item.image_sha256) if item.image_sha256 else None
        if data is None:
            raise OriginalMissing(f"item {item.id!r} has no stored picture")
        return data

    def vectors(self, id_: str) -> dict[Modality, Vector]:
        """The item's embeddings, float32 [dimension] per modality; raises `ItemNotFound`."""
        pk = self._stored(id_).pk
        return self._catalogue.item_vectors(self._row.generation_pk, [pk]).get(pk, {})

    def search(self, request: SearchRequest) -> SearchResult:
        """Embed the query, search the target modalities, fuse, and read the page of hits.

        Raises:
            QueryInvalid, ItemNotFound, VectorInvalid, ImageError: See `indexer.search.embedding.embed_terms`.
        """
        [outcome] = self.search_batch([request])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def is_quick(self, request: SearchRequest) -> bool:
        """Whether whichever generation answers has the answer about as soon as a thread; see `Searcher.is_quick`."""
        return all(generation.is_quick(request) for generation in self.generations.open)

    def search_batch(self, requests: Sequence[SearchRequest]) -> list[SearchOutcome]:
        """Search for each request, in order: its result, or why it could not be embedded.

        All that one generation answers are embedded together, and their hits read together.

        Raises:
            CollectionNotFound: It is closed or was deleted.
        """
        self._check_open()
        outcomes: dict[int, SearchOutcome] = {}
        asked: dict[Generation, list[int]] = {}
        self.recent_queries.extend(
            request.terms[0].text for request in requests if len(request.terms) == 1 and request.terms[0].text
        )
        for place, request in enumerate(requests):
            try:
                asked.setdefault(self.generations.get(request.generation), []).append(place)
            except GenerationConflict as error:
                outcomes[place] = error
        with self.lanes.first():
            for generation, places in asked.items():
                together = [requests[place] for place in places]
                outcomes.update(zip(places, generation.search_batch(together), strict=True))
        return [outcomes[place] for place in range(len(requests))]

    def explain(self, picture: Image.Image, terms: Sequence[Term]) -> SaliencyMap:
        """Which regions of a picture make it match a query; the scores are cosines as in `Hit.scores["image"]`.

        Raises:
            QueryInvalid, ItemNotFound, VectorInvalid, ImageError: See `indexer.search.embedding.embed_terms`.
        """
        active = self.generations.active
        embedded = embed_terms(terms, active.encoder, self.limits, self._catalogue, active.row)
        query = mean_vector([term.embeddings["image"] for term in embedded], [term.weight for term in embedded])
        return occlusion_map(active.encoder.preprocess(picture), query, active.encoder)

    def select(self, k: int, method: Method, filter_: Filter | None = None) -> list[Representative]:
        """At most k items that cover the collection, the most telling first; see `indexer.quality.selection.select`.

        Args:
            filter_: The items to choose from; all if None.
        """
        among = None if filter_ is None else self._columns.select(filter_).items.pks
        with self._writes:
            indexes = self.generations.active.indexes
            image, text = (indexes[modality].snapshot() for modality in MODALITIES)
        chosen = select(Points(image, text, among), k, method, self._check_open)
        stored = self._catalogue.items_by_pk([one.item for one in chosen])
        return [
            Representative(stored[one.item].item, one.cluster_size)
            for one in chosen
            # Else it was deleted or changed meanwhile.
            if one.item in stored and fits(stored[one.item].item, filter_)
        ]

    # Following a writer in another process

    def follow(self, end: int, written_to: Container[int]) -> bool:
        """Take over what was written since; whether it had to be read anew, and may be ahead here and there.

        Args:
            end: A position in the log of changes.
            written_to: Primary keys of the collections that it names up to there since this was called last.
        """
        with self._writes:
            if self.pk not in written_to:
                self._position = max(self._position, end)
                return False
            try:
                last_seqs = {one.pk: one.last_seqs for one in self.generations.open}
                position, written = self._catalogue.written_since(self.pk, self._position, last_seqs)
            except FellBehind:
                self._read_anew()
                return True
            if written:
                self._position = NOWHERE  # until all of it is taken over: what was not is in no index and no column
                self._take_over(written)
            self._position = position
            return False

    def renew(self) -> None:
        """Take over the segments that were built since, where that is worth its while."""
        for index in self._open_indexes():
            if index.is_outdated():
                index.renew()

    def _read_anew(self) -> None:
        self._position = NOWHERE
        position, self._count = self._catalogue.mark(self.pk)
        self._columns.clear()
        for index in self._open_indexes():
            index.reload()
        self._position = position

    # Trust

    def verify(self) -> list[str]:
        """Compare the index with the catalogue, vector by vector and word by word; empty when they are equal."""
        with self._writes:
            vectors = [problem for index in self._open_indexes() for problem in index.problems()]
            return vectors + self._texts.problems()

    @property
    def segments(self) -> int:
        """Number of built segments."""
        return sum(len(index.segments) for index in self._open_indexes())

    @property
    def unusable(self) -> list[str]:
        """What was wrong with segments that were found on disk; the catalogue was read instead of them."""
        return [reason for index in self._open_indexes() for reason in index.unusable]

    def quality(self, offset: int, limit: int, duplicate_threshold: float = NEAR_DUPLICATE) -> Quality:
        """What is wrong with the catalogue; reads all vectors unless nothing was written since the last call.

        Args:
            offset, limit: Which of the worst pairs and of the largest groups, of each at most the first 1,000.
            duplicate_threshold: Cosine from which two pictures are near duplicates.
        """
        return self.generations.active.quality.report(duplicate_threshold).page(offset, limit)

    def compact(self) -> None:
        """Merge each index into one segment without hidden vectors; searches and writes go on."""
        for generation in self.generations.open:
            generation.compaction.run()

    def tune(self, target: float) -> None:
        """Set how wide searches of the built segments are, so that their recall@10 holds; searches and writes go on."""
        for generation in self.generations.open:
            generation.compaction.tune(target)

    def rebuild(self, report: Callable[[int], None] = lambda _: None) -> None:
        """Drop each index and build it anew from the catalogue; writes and searches wait.

        Args:
            report: Told how many more vectors are built each time that it is called.
        """
        for generation in self.generations.open:
            generation.compaction.rebuild(report)
        with self._writes:
            self._catalogue.rebuild_texts(self.pk)

    def close(self) -> None:
        """Take no more writes and end a running compaction; returns when both have come to rest."""
        self._closed.set()
        self.generations.close()
        with self._writes:
            pass

    def _matching_page(self, filter_: Filter, limit: int, after: int) -> tuple[list[Item], str | None]:
        """As `items`; a page from which items were deleted meanwhile is shorter, and not the last for that."""
        matching = self._columns.select(filter_).items.pks
        pks = matching[np.searchsorted(matching, after, side="right") :][: limit + 1].tolist()
        stored = self._catalogue.items_by_pk(pks[:limit])
        page = [stored[pk].item for pk in pks[:limit] if pk in stored and fits(stored[pk].item, filter_)]
        return page, encode_cursor(pks[limit - 1]) if len(pks) > limit else None

    def _still_matching(self, pks: Sequence[int], filter_: Filter) -> list[str]:
        stored = self._catalogue.items_by_pk(pks).values()
        return [found.item.id for found in stored if fits(found.item, filter_)]

    def _upsert_different(self, items: Sequence[NewItem]) -> dict[str, Upserted | Failed]:
        failed = {item.id: Failed(item.id, error) for item in items if (error := check_id(item.id))}
        new = [item for item in items if item.id not in failed]
        known = self.known([item.id for item in new])
        prepared = prepare(new, known, self.generations.encoders, self.limits)
        outcomes = self.store(new, known, prepared)
        return failed | self._describe(
            outcomes, {id_: one for id_, one in prepared.items() if isinstance(one, Prepared)}
        )

    def _judge(self, prepared: Mapping[str, Prepared | Failed], known: Mapping[str, StoredItem]) -> Judgement:
        """What the watch rules say of items that are about to be written, by the vectors they will then have."""
        if not self.rules.any():
            return Judgement({})
        active = self.generations.active
        changes = [made.change for made in prepared.values() if isinstance(made, Prepared)]
        partly_new = [known[change.id].pk for change in changes if change.kept]
        stored = self._catalogue.item_vectors(active.pk, partly_new)
        vectors: dict[str, dict[Modality, Vector]] = {}
        for change in changes:
            old = stored.get(known[change.id].pk, {}) if change.kept else {}
            kept = {modality: vector for modality, vector in old.items() if modality in change.kept}
            new = change.vectors.get(active.pk, {})
            vectors[change.id] = kept | {modality: to_float16(vector) for modality, vector in new.items()}
        return self.rules.judge(vectors, active)

    def _commit(self, writes: Sequence[Write]) -> None:
        """Commit those that can be as they are prepared; in one transaction, while nobody else writes."""
        self._check_open()
        # Embedding is slow and runs without the lock: another write, or a generation, may have come in between.
        hashes = self._catalogue.content_hashes(self.pk, [id_ for write in writes for id_ in write.ids])
        able = [write for write in writes if self._ready(write.prepared) and _is_as_known(write, hashes)]
        if not able:
            return
        made = [one for write in able for one in write.changes]
        pictures = {
            one.change.image_sha256: one.image
            for one in made
            if self.settings.store_originals and one.image is not None and one.change.image_sha256
        }

        def also(connection: Connection) -> None:
            for write in able:
                self.rules.record(connection, write.judged)
                if write.also:
                    write.also(write.outcomes, connection)

        try:
            with self._originals.stored(pictures):
                written = self._catalogue.write(self._row, [one.change for one in made], also)
        except Exception:
            self._originals.remove(pictures, self._catalogue.referenced_images)
            raise
        for write in able:
            write.is_committed = True
        self._take_over(written)
        replaced = {sha256 for write in able for sha256 in write.replaced}
        self._originals.remove(replaced - set(pictures), self._catalogue.referenced_images)

    def _take_over(self, written: Written) -> None:
        """Bring a committed write into the index; it is acknowledged only after that."""
        self._count += written.growth
        try:
            self._columns.apply(written.items)
        except Exception:
            log.exception("the columns of %s missed a write and are read anew", self.name)
            self._columns.clear()
        self.generations.take_over(written)

    def _describe(
        self, outcomes: Mapping[str, Outcome], prepared: Mapping[str, Prepared]
    ) -> dict[str, Upserted | Failed]:
        vectors = self._vectors_of(outcomes, prepared)
        flags = self.rules.flags_of(list(outcomes))
        results: dict[str, Upserted | Failed] = {}
        for id_, outcome in outcomes.items():
            if isinstance(outcome, Failed):
                results[id_] = outcome
                continue
            own = vectors.get(id_, {})
            modalities = tuple(modality for modality in MODALITIES if modality in own)
            truncated = id_ in prepared and prepared[id_].truncated
            results[id_] = Upserted(id_, outcome, modalities, _alignment(own), truncated, flags=flags.get(id_, ()))
        return results

    def _vectors_of(self, ids: Iterable[str], prepared: Mapping[str, Prepared]) -> dict[str, Mapping[Modality, Vector]]:
        """The vectors of items that were just written; they are read for those that kept one, or did not change."""
        active = self._row.generation_pk
        changes = {id_: one.change for id_, one in prepared.items() if not one.change.kept}
        vectors: dict[str, Mapping[Modality, Vector]] = {
            id_: {modality: to_float16(vector) for modality, vector in change.vectors[active].items()}
            for id_, change in changes.items()
            if active in change.vectors
        }
        if others := [id_ for id_ in ids if id_ not in vectors]:
            pks = {stored.pk: id_ for id_, stored in self.known(others).items()}
            found = self._catalogue.item_vectors(active, list(pks))
            vectors.update((pks[pk], own) for pk, own in found.items())
        return vectors

    def _with_duplicates(self, result: Upserted) -> Upserted:
        own = self._catalogue.pk_and_image(self.pk, result.id)
        if own is None:  # it was deleted meanwhile
            return result
        pk, sha256 = own
        near = self._near(pk)
        ids = self._catalogue.ids(list(near))
        scores = {ids[other]: score for other, score in near.items() if other in ids}
        if sha256:
            same = self._catalogue.same_image(self.pk, sha256, MAX_DUPLICATES + 1)
            scores.update(dict.fromkeys(same, 1.0))
        scores.pop(result.id, None)
        best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_DUPLICATES]
        return replace(result, duplicates=tuple(Duplicate(id_, score) for id_, score in best))

    def _near(self, pk: int) -> dict[int, float]:
        """Primary keys of items whose pictures are near duplicates of an item's, with their cosines."""
        index = self.generations.active.indexes["image"]
        [vector] = index.vectors(np.array([pk], dtype=np.int64))
        if np.isnan(vector[0]):  # it has none
            return {}
        found = index.search(vector, MAX_DUPLICATES + 1)
        scores = zip(found.items.tolist(), found.similarities.tolist(), strict=True)
        return {other: min(score, 1.0) for other, score in scores if other != pk and score >= NEAR_DUPLICATE}

    def _stored(self, id_: str) -> StoredItem:
        stored = self._catalogue.items(self._row.pk, [id_]).get(id_)
        if stored is None:
            raise ItemNotFound(f"no item {id_!r} in collection {self.name!r}")
        return stored

    def _ready(self, prepared: Mapping[str, Prepared | Failed]) -> bool:
        """Whether they were prepared for just the generations that take in what is written now.

        Vectors for one that was dropped meanwhile cannot be stored, and those that a client gave are of the active one.
        """
        open_ = {generation.pk for generation in self.generations.open}
        return all(open_ == made.generations for made in prepared.values() if isinstance(made, Prepared))

    def _open_indexes(self) -> list[VectorIndex]:
        return [index for generation in self.generations.open for index in generation.indexes.values()]

    def _compact_if_needed(self) -> None:
        for generation in self.generations.open:
            generation.compaction.run_if_needed()

    @property
    def _row(self) -> CollectionRow:
        return self.generations.active.row

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise CollectionNotFound(f"collection {self.name!r} is closed or was deleted")


def _batches_of_different_ids(new: Sequence[NewItem]) -> list[list[NewItem]]:
    """Cut before each item whose id was already in the batch, so that later ones win in order."""
    batches: list[list[NewItem]] = []
    seen: set[str] = set()
    for item in new:
        if not batches or item.id in seen:
            batches.append([])
            seen = set()
        batches[-1].append(item)
        seen.add(item.id)
    return batches


def _both(first: Callable[[Connection], None], second: Callable[[Connection], None], connection: Connection) -> None:
    first(connection)
    second(connection)


def _is_as_known(write: Write, hashes: Mapping[str, str]) -> bool:
    """Whether what is stored is still what a write was prepared from."""
    return all(hashes.get(id_) == _hash(write.known.get(id_)) for id_ in write.ids)


def _hash(stored: StoredItem | None) -> str | None:
    return stored.content_hash if stored else None


def _alignment(vectors: Mapping[Modality, Vector]) -> float | None:
    """Cosine of an item's image and text, where it has both."""
    if len(vectors) < len(MODALITIES):
        return None
    image, text = vectors["image"], vectors["text"]
    return float(image @ text / (np.linalg.norm(image) * np.linalg.norm(text)))
