"""An object store on loopback that speaks S3."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

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
        self._bucket().put(key, data)
        return f"s3://{BUCKET}/{key}"

    def delete(self, key: str) -> None:
        self._bucket().delete(key)

    def _bucket(self) -> S3Store:
        return S3Store(
            BUCKET,
            endpoint=self.url,
            access_key_id="x",
            secret_access_key="x",
            region="us-east-1",
            client_options={"allow_http": True},
        )


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
