"""`Collections`: a data folder opened, with every collection in it."""

import fcntl
import re
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from indexer.collection import Collection
from indexer.disk import Disk
from indexer.errors import CollectionConflict, CollectionNameInvalid, CollectionNotFound, DataFolderInUse
from indexer.index.hardware import Hardware
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.stores.database import CATALOGUE, Database
from indexer.stores.originals import Originals
from indexer.types import CollectionInfo, CollectionSettings
from models.encoder import Encoder
from models.imaging import ImageLimits
from models.lanes import Lanes

DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Collections:
    """All collections of one data folder; the folder has one writer at a time, and any number of readers. Thread-safe.

    Args:
        open_encoder: The encoder of a model by name; raises `ModelNotFound`.
        default_model: The model with which the collection `default` is made.
        hardware: What indexes may use of the machine.
        lanes: Those of the process; searches and uploads go first.
        disk: The folder's; nothing is added while too little of it is free.
        read_only: Another process writes to the folder; `follow` takes over what it did.

    Raises:
        DataFolderInUse: Another process writes to the folder, too.
    """

    def __init__(
        self,
        data_dir: Path,
        open_encoder: Callable[[str], Encoder],
        limits: ImageLimits | None = None,
        default_model: str = "default",
        hardware: Hardware | None = None,
        lanes: Lanes | None = None,
        disk: Disk | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        self._data_dir, self._open_encoder, self._limits = data_dir, open_encoder, limits or ImageLimits()
        self._hardware = hardware or Hardware()
        self._default_settings = CollectionSettings(model=default_model)
        self._changes = threading.RLock()
        self._lanes = lanes or Lanes()
        self._open: dict[str, Collection] = {}
        self._seen: tuple[object, int] | None = None
        """Of the catalogue, when `follow` was called last."""
        self._held = ExitStack()
        try:
            if not read_only:
                self._held.enter_context(_lock_folder(data_dir))
            self.database = Database(data_dir / CATALOGUE, read_only=read_only)
            self._held.callback(self.database.close)
            self.disk = disk or Disk(data_dir)
            self.originals = Originals(data_dir / "originals", self.disk, read_only=read_only)
            self._catalogue = Catalogue(self.database)
            if read_only:
                self.follow()
            else:
                self._open_all()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what runs in the background, close the database and give the folder free."""
        for collection in list(self._open.values()):
            collection.close()
        self._held.close()

    def ready(self) -> None:
        """Raise unless the database answers."""
        self.database.ping()

    def put(self, name: str, settings: CollectionSettings, *, any_model: bool = False) -> tuple[CollectionInfo, bool]:
        """Create a collection, or confirm that it exists with these settings.

        Args:
            any_model: One that exists may have another model, which re-embedding has given it.

        Returns:
            The collection, and whether it was created now.

        Raises:
            CollectionNameInvalid: Not 1 to 100 letters, digits, dots, underscores and hyphens.
            CollectionConflict: It exists with other settings.
            ModelNotFound: No such model.
        """
        if not _NAME.fullmatch(name):
            raise CollectionNameInvalid(
                "a collection's name has 1 to 100 letters, digits, '.', '_' and '-', and begins with a letter or digit"
            )
        with self._changes:
            known = self._open.get(name)
            if known is None:
                encoder = self._open_encoder(settings.model)
                row = self._catalogue.create_collection(name, settings, encoder.fingerprint, encoder.dimension)
                self._open[name] = self._open_collection(row)
                return self._open[name].info(), True
            wanted = replace(settings, modality_weights=dict(settings.modality_weights))
            of_its_model = replace(wanted, model=known.settings.model)
            if of_its_model != known.settings:
                raise CollectionConflict(f"collection {name!r} exists with other settings; delete it first")
            if wanted != of_its_model and not any_model:
                raise CollectionConflict(
                    f"collection {name!r} has the model {known.settings.model!r}; "
                    f"POST /v1/collections/{name}/reembed changes it",
                    "/model",
                )
            return known.info(), False

    def get(self, name: str) -> Collection:
        """A collection by name; raises `CollectionNotFound`."""
        try:
            return self._open[name]
        except KeyError:
            # Not which there are: who asks may be meant to know of some only.
            raise CollectionNotFound(
                f"no collection {name!r}; GET /v1/collections lists them, PUT creates one (a key needs the scope admin)"
            ) from None

    def infos(self) -> list[CollectionInfo]:
        """All collections by name."""
        collections = list(self._open.values())
        return [collection.info() for collection in sorted(collections, key=lambda collection: collection.name)]

    def delete(self, name: str) -> None:
        """Remove a collection with its items, pictures and index; `default` comes back empty.

        Raises:
            CollectionNotFound: No such collection.
        """
        with self._changes:
            collection = self.get(name)
            del self._open[name]
            collection.close()
            pictures = self._catalogue.delete_collection(collection.pk)
            self.originals.remove(pictures, self._catalogue.referenced_images)
            shutil.rmtree(self._index_folder(collection.pk), ignore_errors=True)
            if name == DEFAULT:
                self.put(DEFAULT, self._default_settings)

    # Following a writer in another process

    def follow(self) -> None:
        """Take over what the writer has committed; for one thread at a time."""
        while self._follow():
            pass  # what was read anew may be ahead here and there, until all the rest is, too

    def renew(self) -> None:
        """Take over the segments that the writer has built, and let go of those that it removed; as `follow`."""
        for collection in list(self._open.values()):
            collection.renew()

    def _follow(self) -> bool:
        outline, end = self._catalogue.outline(), self._catalogue.end_of_log()
        if (outline, end) == self._seen:
            return False
        before, since = self._seen or (None, 0)
        if outline != before:
            self._refresh()
        written = self._catalogue.written_to(since)
        read_anew = [collection.follow(end, written) for collection in self._open.values()]
        self._seen = outline, end
        return outline != before or any(read_anew)

    def _refresh(self) -> None:
        """Open the collections and generations that came, and close those that went."""
        rows = {row.name: row for row in self._catalogue.collections()}
        before = self._open
        self._open = {
            name: before[name] if name in before and before[name].pk == row.pk else self._open_collection(row)
            for name, row in rows.items()
        }
        for name, collection in before.items():
            if self._open.get(name) is collection:
                collection.generations.refresh()
            else:
                collection.close()

    def _open_all(self) -> None:
        for row in self._catalogue.collections():
            self._open[row.name] = self._open_collection(row)
        if DEFAULT not in self._open:
            self.put(DEFAULT, self._default_settings)

    def _open_collection(self, row: CollectionRow) -> Collection:
        folder = self._index_folder(row.pk)
        return Collection(
            row,
            self.database,
            self._catalogue,
            self.originals,
            folder,
            self._encoder_of,
            self._limits,
            self._hardware,
            self._lanes,
        )

    def _encoder_of(self, row: CollectionRow) -> Encoder:
        encoder = self._open_encoder(row.model)
        if encoder.fingerprint != row.fingerprint:
            raise CollectionConflict(
                f"collection {row.name!r} was embedded with model {row.model!r} of fingerprint "
                f"{row.fingerprint[:12]}, the installed one has {encoder.fingerprint[:12]}"
            )
        return encoder

    def _index_folder(self, collection_pk: int) -> Path:
        return self._data_dir / "index" / str(collection_pk)


def _lock_folder(data_dir: Path) -> IO[str]:
    """Hold the folder until the process ends: two writers would each miss what the other adds to its index."""
    data_dir.mkdir(parents=True, exist_ok=True)
    file = (data_dir / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise DataFolderInUse(
            f"{data_dir} is in use by another Sightline process; stop it or choose another --data-dir"
        ) from error
    return file
