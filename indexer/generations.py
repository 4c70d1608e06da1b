"""`Generations`: which model's vectors a collection answers from, and which take in what is written beside them."""

import logging
import random
import shutil
import threading
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from indexer.absent import AbsentEncoder
from indexer.errors import CollectionConflict, GenerationConflict, GenerationIncomplete, GenerationNotFound
from indexer.generation import Generation
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.stores.generations import Filling, GenerationStore
from indexer.stores.writing import Written
from indexer.types import MODALITIES, GenerationInfo, GenerationState
from models.encoder import Encoder
from models.errors import ModelError

log = logging.getLogger(__name__)

EncoderOf = Callable[[CollectionRow], Encoder]
"""The model that made a generation; raises `ModelError` or `CollectionConflict` where it is gone."""
OpenGeneration = Callable[[CollectionRow, Encoder], Generation]


class Generations:
    """The generations of one collection. Thread-safe.

    Args:
        writes: Held by each write from before its commit until the indexes have taken it over.
    """

    def __init__(
        self,
        store: GenerationStore,
        catalogue: Catalogue,
        row: CollectionRow,
        encoder_of: EncoderOf,
        open_: OpenGeneration,
        writes: threading.RLock,
    ) -> None:
        self._store, self._catalogue, self._writes = store, catalogue, writes
        self._encoder_of, self._open = encoder_of, open_
        self._changes = threading.RLock()
        rows = store.of(row.pk)
        self.active = self._open_active(row)
        """The one that answers."""
        self._following: tuple[Generation, ...] = tuple(
            generation for row in rows if row.follows and not row.active and (generation := self._try_open(row))
        )

    @property
    def open(self) -> tuple[Generation, ...]:
        """Those that take in what is written, the active one first."""
        return (self.active, *self._following)

    @property
    def encoders(self) -> dict[int, Encoder]:
        """Of those; see `indexer.preparation.Encoders`."""
        return {generation.pk: generation.encoder for generation in self.open}

    def infos(self) -> list[GenerationInfo]:
        """All of them, oldest first."""
        active = self.active.row
        return [self._info(row, active) for row in self._store.of(active.pk)]

    def get(self, number: int | None) -> Generation:
        """An open one by number; without one the active one, or a canary in its turn.

        Raises:
            GenerationConflict: It is not open.
        """
        if number is None:
            return self._drawn()
        found = next((generation for generation in self.open if generation.number == number), None)
        if found is None:
            numbers = ", ".join(str(generation.number) for generation in self.open)
            raise GenerationConflict(f"generation {number} does not answer; these do: {numbers}", "/generation")
        return found

    def take_over(self, written: Written) -> None:
        """Bring a committed write into the indexes of all that are open."""
        for generation in self.open:
            generation.take_over(written)

    def refresh(self) -> None:
        """Open what another process activated or began to fill, and close what it let rest."""
        rows = {row.generation_pk: row for row in self._store.of(self.active.row.pk)}
        before = {generation.pk: generation for generation in self.open if generation.pk in rows}
        for pk, generation in before.items():
            generation.row, generation.canary = rows[pk], rows[pk].canary
        left = self.open
        for row in rows.values():
            if row.active:
                self.active = before.get(row.generation_pk) or self._open_active(row)
        self._following = tuple(
            opened
            for row in rows.values()
            if row.follows and not row.active and (opened := before.get(row.generation_pk) or self._try_open(row))
        )
        for generation in left:
            if generation not in self.open:
                generation.close()

    def close(self) -> None:
        """End what runs in the background."""
        for generation in self.open:
            generation.close()

    # Changes

    def follow(self, model: str, encoder: Encoder) -> Generation:
        """From now on a generation of this model takes in what is written: one that rested, or a new one.

        Raises:
            GenerationConflict: It is the active one.
        """
        with self._changes:
            if encoder.fingerprint == self.active.row.fingerprint:
                raise GenerationConflict(f"the collection's vectors are those of model {model!r} already", "/model")
            rows = self._store.of(self.active.row.pk)
            row = next((row for row in rows if row.fingerprint == encoder.fingerprint), None)
            row = row or self._store.add(self.active.row.pk, model, encoder.fingerprint, encoder.dimension)
            return self._follow(row, encoder)

    def fill(self, generation: Generation, fillings: Sequence[Filling], also: Callable[[Connection], None]) -> None:
        """Add what a generation lacked, where the items are still what it was made from.

        Args:
            also: What else the transaction does.
        """
        with self._writes:
            added = self._store.fill(generation.row, fillings, also)
            generation.take_over(Written({}, 0, {generation.pk: added}, {}))
        generation.compaction.run_if_needed()

    def activate(self, number: int, missing: int = 0) -> None:
        """Let a generation answer; the one before it rests, and requests that it answers already end on it.

        Others that follow go on with it.

        Args:
            missing: How many items may be without vectors in it that they have now.

        Raises:
            GenerationNotFound: No such generation.
            GenerationIncomplete: It lacks vectors of more items.
            ModelError, CollectionConflict: Its model is not there any more.
        """
        with self._changes:
            row = self._row(number)
            if row.active:
                return
            was_open = self._is_open(row)
            generation = self._follow(row, self._encoder_of(row))
            try:
                before = self.active
                self._flip(generation, missing)
            except BaseException:
                if not was_open:
                    self.rest(number)
                raise
        before.close()

    def rest(self, number: int) -> None:
        """A generation that follows does so no more; it keeps what it has."""
        with self._changes:
            resting = [one for one in self._following if one.number == number]
            with self._writes:
                for generation in resting:
                    self._store.set_following(generation.row, False)
                self._following = tuple(one for one in self._following if one not in resting)
        for generation in resting:
            generation.close()

    def drop(self, number: int) -> None:
        """Remove a generation with its vectors and its index.

        Raises:
            GenerationNotFound: No such generation.
            GenerationConflict: It is the active one.
        """
        with self._changes:
            row = self._row(number)
            if row.active:
                raise GenerationConflict(f"generation {number} is the active one; activate another first")
            self.rest(number)
            shutil.rmtree(self.active.folder.parent / str(row.generation_pk), ignore_errors=True)
            self._store.drop(row)

    def set_canary(self, number: int, share: float, missing: int = 0) -> None:
        """Let a generation that follows answer a share of the searches.

        Args:
            missing: How many items may be without vectors in it that they have in the active one.

        Raises:
            GenerationNotFound: No such generation.
            GenerationConflict: It does not follow.
            GenerationIncomplete: It lacks vectors of more items.
        """
        with self._changes:
            row = self._row(number)
            if row.active or not self._is_open(row):
                raise GenerationConflict(
                    f"generation {number} cannot be a canary: it is {self._state(row)}; "
                    "re-embed to its model with `activate` false first"
                )
            if share:
                self._check_complete(row, missing)
            self._store.set_canary(row, share)
            self._follow(row, self._encoder_of(row)).canary = share

    def _follow(self, row: CollectionRow, encoder: Encoder) -> Generation:
        for generation in self._following:
            if generation.pk == row.generation_pk:
                return generation
        with self._writes:  # what is committed from now on is committed for it, too
            self._store.set_following(row, True)
            generation = self._open(row, encoder)
            self._following += (generation,)
        return generation

    def _flip(self, generation: Generation, missing: int) -> None:
        row, seq = generation.row, self._catalogue.last_seq()
        lacking = self._check_complete(row, missing)
        with self._writes:
            self._check_complete(row, missing - lacking, after_seq=seq)
            generation.row = self._store.activate(row, self.active.row)
            self.active, self._following = generation, tuple(one for one in self._following if one is not generation)

    def _check_complete(self, row: CollectionRow, missing: int, after_seq: int = 0) -> int:
        lacking = self._store.count_missing(row, self.active.row, after_seq)
        if lacking > missing:
            raise GenerationIncomplete(
                f"generation {row.generation} lacks vectors of {lacking:,} items that the active one has; "
                f"re-embed to its model {row.model!r} to fill it"
            )
        return lacking

    def _is_open(self, row: CollectionRow) -> bool:
        return any(generation.pk == row.generation_pk for generation in self.open)

    def _state(self, row: CollectionRow) -> GenerationState:
        return "active" if row.active else "following" if self._is_open(row) else "resting"

    def _drawn(self) -> Generation:
        """The active one, but for the share of a canary."""
        draw = random.random()  # noqa: S311 - a fair share needs no secret
        for generation in self._following:
            if draw < generation.canary:
                return generation
            draw -= generation.canary
        return self.active

    def _row(self, number: int) -> CollectionRow:
        for row in self._store.of(self.active.row.pk):
            if row.generation == number:
                return row
        raise GenerationNotFound(f"no generation {number} in collection {self.active.row.name!r}")

    def _open_active(self, row: CollectionRow) -> Generation:
        """What a model made answers without it, as far as it can."""
        try:
            return self._open(row, self._encoder_of(row))
        except (ModelError, CollectionConflict) as error:
            log.error("collection %s cannot embed: %s", row.name, error)
            return self._open(row, AbsentEncoder(row, error.detail))

    def _try_open(self, row: CollectionRow) -> Generation | None:
        """One that follows is not worth a collection that cannot be opened."""
        try:
            return self._open(row, self._encoder_of(row))
        except (ModelError, CollectionConflict) as error:
            log.error("generation %s of %s takes in nothing: %s", row.generation, row.name, error)
            return None

    def _info(self, row: CollectionRow, active: CollectionRow) -> GenerationInfo:
        return GenerationInfo(
            number=row.generation,
            state=self._state(row),
            model=row.model,
            fingerprint=row.fingerprint,
            dimension=row.dimension,
            vectors={m: self._catalogue.count_vectors(row.generation_pk, m) for m in MODALITIES},
            missing=self._store.count_missing(row, active),
            canary=row.canary,
            created_at=row.made_at,
        )
