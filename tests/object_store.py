"""An object store on loopback that speaks S3."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import pytest
from moto.server import ThreadedMotoServer

BUCKET = "shop"


@dataclass(frozen=True)
class ObjectStore:
    url: str

    def reset(self) -> None:
        """Empty but for the bucket."""
        httpx.post(f"{self.url}/moto-api/reset").raise_for_status()
        httpx.put(f"{self.url}/{BUCKET}").raise_for_status()

    def put(self, key: str, data: bytes) -> str:
        """Store an object; its address."""
        httpx.put(f"{self.url}/{BUCKET}/{quote(key)}", content=data).raise_for_status()
        return f"s3://{BUCKET}/{key}"

    def delete(self, key: str) -> None:
        httpx.delete(f"{self.url}/{BUCKET}/{quote(key)}").raise_for_status()


@contextmanager
def serve_objects() -> Iterator[ObjectStore]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield ObjectStore("http://{}:{}".format(*server.get_host_and_port()))
    finally:
        server.stop()


def configure(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Say in the environment, as users do, where the store is."""
    variables = {"ENDPOINT_URL": endpoint, "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "REGION": "us-east-1"}
    for name, value in variables.items():
        monkeypatch.setenv(f"AWS_{name}", value)
