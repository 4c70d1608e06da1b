"""An app over a fresh data folder and the fake encoder, in this process or behind a real port."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.cli import main
from app.cli.serve import address, listen
from app.server import create_app
from app.serving import configure
from app.settings import Settings
from models.encoder import Encoder
from models.errors import ModelNotFound
from tests.fakes import FakeEncoder

NEW = "0" * 64
"""Fingerprint of the model `new`."""

ITEMS = "/v1/collections/default/items"
SEARCH = "/v1/collections/default/search"
SEARCH_BATCH = f"{SEARCH}/batch"
RULES = "/v1/collections/default/rules"
FLAGS = "/v1/collections/default/flags"
QUALITY = "/v1/collections/default/quality"
SELECT = "/v1/collections/default/select"
REEMBED = "/v1/collections/default/reembed"
GENERATIONS = "/v1/collections/default/generations"

LOCAL = "http://127.0.0.1"
"""A name of this machine, as the server asks for."""

Run = Callable[..., "Ran"]


class Ran:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No sightline.toml and no variable of the developer's gets into a test."""
    monkeypatch.chdir(tmp_path)
    for name in ("SIGHTLINE_API_KEY", "SIGHTLINE_URL", "SIGHTLINE_DATA_DIR", "SIGHTLINE_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def new() -> FakeEncoder:
    """Another model, `new`."""
    return FakeEncoder(dimension=8, fingerprint=NEW)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0)


@pytest.fixture
def client(settings: Settings, encoder: FakeEncoder, new: FakeEncoder) -> Iterator[TestClient]:
    with client_of(settings, encoder, new=new) as client:
        yield client


@contextmanager
def client_of(settings: Settings, encoder: FakeEncoder, **others: FakeEncoder) -> Iterator[TestClient]:
    """A client of an app in this process."""
    app = make_app(settings, encoder, **others)
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as client:
        yield client


def make_app(settings: Settings, encoder: FakeEncoder, **others: FakeEncoder) -> FastAPI:
    """An app whose models are fake ones: `default`, and others by their names."""
    encoders = {"default": encoder, **others}

    def open_encoder(name: str) -> Encoder:
        if name not in encoders:
            raise ModelNotFound(f"no model {name!r}; there are {', '.join(encoders)}")
        return encoders[name]

    return create_app(settings, open_encoder)


@pytest.fixture
def server_url(settings: Settings, encoder: FakeEncoder, new: FakeEncoder) -> Iterator[str]:
    """The address of a real server in a thread."""
    with serving(settings, encoder, new=new) as url:
        yield url


@contextmanager
def serving(settings: Settings, encoder: FakeEncoder, **others: FakeEncoder) -> Iterator[str]:
    """The address of a real server in a thread, set up as `sightline serve` does it."""
    with listen(settings) as listener:
        server = uvicorn.Server(configure(make_app(settings, encoder, **others), settings))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield address(listener)
        server.should_exit = True
        thread.join()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["sightline", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        code = exit_.value.code
        assert code is None or isinstance(code, int)
        return Ran(code or 0, *capsys.readouterr())

    return run
