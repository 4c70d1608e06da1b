"""Everything that can go wrong in `models`.

ModelError
├── ModelNotFound           no model of that name in the store
├── ManifestInvalid         model.json is missing, malformed or of another format version
├── FileCorrupt             a file's SHA-256 is not the one in the manifest
├── PreprocessingUnknown    a resize mode or interpolation that Sightline does not implement
├── DeviceUnavailable       the requested execution provider is not installed
├── EncoderOverloaded       more waits to be embedded, or searched for, than may
├── RequestAbandoned        nobody waits any more for what was to be embedded
├── ExportFailed            the exported graph does not do what the original does
├── TrainingFailed          the training data or configuration cannot be used
└── ImageError
    ├── ImageUndecodable    the bytes are not a complete picture of an allowed format
    └── ImageTooLarge       more bytes, pixels or frames than the limits allow
"""


class ModelError(Exception):
    """Base of every error raised by `models`; `detail` tells the user what was wrong and what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ModelNotFound(ModelError):
    """No model of that name in the store."""


class ManifestInvalid(ModelError):
    """`model.json` is missing, malformed or of another format version."""


class FileCorrupt(ModelError):
    """A model file's SHA-256 is not the one in the manifest."""


class PreprocessingUnknown(ModelError):
    """A resize mode or interpolation that Sightline does not implement."""


class DeviceUnavailable(ModelError):
    """The requested execution provider is not installed."""


class EncoderOverloaded(ModelError):
    """More waits to be embedded, or searched for, than may; it is worth trying again soon."""


class RequestAbandoned(ModelError):
    """Nobody waits any more for what was to be embedded."""


class ExportFailed(ModelError):
    """The exported graph does not do what the original model does."""


class TrainingFailed(ModelError):
    """The training data or configuration cannot be used."""


class ImageError(ModelError):
    """Base of what can be wrong with one picture."""


class ImageUndecodable(ImageError):
    """The bytes are not a complete picture of an allowed format."""


class ImageTooLarge(ImageError):
    """More bytes, pixels or frames than the limits allow."""
