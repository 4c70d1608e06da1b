"""Models that are open in this process."""

from collections.abc import Callable
from threading import Lock

from app.settings import Settings
from models.encoder import DualEncoder, Encoder
from models.store import ModelStore

OpenEncoder = Callable[[str], Encoder]
"""Gives the encoder of the model with this name; raises `ModelError`."""


class Encoders:
    """Opens each model once, on the device of the settings."""

    def __init__(self, settings: Settings, store: ModelStore) -> None:
        self._settings = settings
        self._store = store
        self._lock = Lock()
        self._opened: dict[tuple[str, str], Encoder] = {}

    def __call__(self, name: str) -> Encoder:
        """The encoder of a model; the first call loads it.

        Raises:
            ModelError: There is no such model, its files are damaged, or its device is missing.
        """
        settings, folder = self._settings, self._store.folder(name)
        with self._lock:
            key = (name, settings.device)
            if key not in self._opened:
                self._opened[key] = DualEncoder.open(folder, device=settings.device, threads=settings.threads)
            return self._opened[key]
