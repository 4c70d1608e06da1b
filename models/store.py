"""Models by name: the embedded one, and those that were added to a folder."""

from pathlib import Path

from models.errors import ModelNotFound
from models.manifest import MANIFEST, Manifest, read_manifest

EMBEDDED = Path(__file__).parent / "default"


class ModelStore:
    """The embedded model under the name `default`, and every model folder below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Names of all models, `default` first."""
        added = sorted(path.parent.name for path in self._folder.glob(f"*/{MANIFEST}"))
        return ["default", *(name for name in added if name != "default")]

    def folder(self, name: str) -> Path:
        """Where a model's files are.

        Raises:
            ModelNotFound: No model of that name; the message lists those there are.
        """
        if name not in self.names():
            raise ModelNotFound(f"no model {name!r}; there are {', '.join(self.names())}")
        return EMBEDDED if name == "default" else self._folder / name

    def manifest(self, name: str) -> Manifest:
        """A model's manifest; raises `ModelNotFound` or `ManifestInvalid`."""
        return read_manifest(self.folder(name))
