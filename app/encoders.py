"""Models that are open in this process."""

from collections.abc import Callable
from threading import Lock
from weakref import WeakValueDictionary

from app.settings import Settings
from models.encoder import DualEncoder, Encoder, ObserveTower
from models.lanes import Lanes
from models.query_cache import ObserveLookup, QueryCache
from models.store import ModelStore

OpenEncoder = Callable[[str], Encoder]
"""Gives the encoder of the model with this name; raises `ModelError`."""


class Encoders:
    """Opens each model once, on the device of the settings, and closes those that nobody uses, but for the latest."""

    def __init__(
        self,
        settings: Settings,
        store: ModelStore,
        lanes: Lanes | None = None,
        observe: ObserveTower = lambda *_: None,
        observe_lookup: ObserveLookup = lambda *_: None,
        *,
        cores: int | None = None,
    ) -> None:
        self._settings, self._store = settings, store
        self._lanes, self._observe, self._observe_lookup = lanes or Lanes(), observe, observe_lookup
        self._cores = cores
        self._lock = Lock()
        self._opened: WeakValueDictionary[tuple[str, str], DualEncoder] = WeakValueDictionary()
        # So that requests for a model of no collection do not load it each time.
        self._latest: DualEncoder | None = None

    @property
    def opened(self) -> list[DualEncoder]:
        """Those that are open now."""
        with self._lock:
            return list(self._opened.values())

    def __call__(self, name: str) -> Encoder:
        """The encoder of a model; the first call loads it.

        Raises:
            ModelError: There is no such model, its files are damaged, or its device is missing.
        """
        settings, folder = self._settings, self._store.folder(name)
        with self._lock:
            key = (name, settings.device)
            encoder = self._opened.get(key)
            if encoder is None:
                encoder = DualEncoder.open(
                    folder,
                    device=settings.device,
                    threads=settings.threads,
                    cores=self._cores,
                    lanes=self._lanes,
                    observe=self._observe,
                    queries=QueryCache(settings.query_cache_size, self._observe_lookup),
                )
                self._opened[key] = encoder
            self._latest = encoder
            return encoder
