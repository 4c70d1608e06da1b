"""A server for the examples to talk to."""

from collections.abc import Iterator

import pytest

from sightline_client import Client
from tests.app.conftest import _in_an_empty_folder, encoder, new, server_url, settings

__all__ = ["_in_an_empty_folder", "encoder", "new", "server_url", "settings"]


@pytest.fixture
def sightline(server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of the server that the environment names, too."""
    monkeypatch.setenv("SIGHTLINE_URL", server_url)
    with Client() as client:
        yield client
