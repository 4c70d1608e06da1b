"""Vectors as they go over the wire: base64 of little-endian float32."""

import base64
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import PlainValidator, WithJsonSchema

_WRITTEN = {"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string"}]}


def encode_vector(vector: ArrayLike) -> str:
    """A vector [dimension], as requests hold it."""
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


def decode_vector(written: Any) -> NDArray[np.float32]:
    """A vector of an answer, in base64 or as numbers; float32 [dimension]."""
    if isinstance(written, str):
        return np.frombuffer(base64.b64decode(written, validate=True), "<f4").astype(np.float32)
    return np.asarray(written, dtype=np.float32)


Vector = Annotated[NDArray[np.float32], PlainValidator(decode_vector), WithJsonSchema(_WRITTEN)]
