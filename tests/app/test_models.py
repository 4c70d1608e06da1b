from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from models.manifest import MANIFEST, Manifest
from models.preprocessing import Preprocessing
from tests.app.conftest import client_of
from tests.fakes import FakeEncoder

MANIFEST_OF_TINY = Manifest(
    name="tiny",
    architecture="ViT-B-32",
    pretrained=None,
    licence="mit",
    precision="fp32",
    dimension=16,
    preprocessing=Preprocessing(size=(32, 48), mean=(0, 0, 0), std=(1, 1, 1)),
    context_length=77,
    dynamic_length=True,
    pad_id=0,
    clean="lower",
    logit_scale=10,
    logit_bias=None,
    files={},
    parity={"image": 1.0, "text": 1.0},
)


@pytest.fixture
def with_tiny(settings: Settings, encoder: FakeEncoder) -> Iterator[TestClient]:
    folder = settings.models_dir / "tiny"
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(MANIFEST_OF_TINY.model_dump_json())
    with client_of(settings, encoder) as client:
        yield client


def test_a_model_is_described_by_its_manifest(with_tiny: TestClient) -> None:
    model = with_tiny.get("/v1/models/tiny").json()

    assert model["fingerprint"] == MANIFEST_OF_TINY.fingerprint
    assert (model["id"], model["object"], model["dimension"], model["image_size"]) == ("tiny", "model", 16, [32, 48])
    assert model["parity"] == {"image": 1.0, "text": 1.0}


def test_models_are_listed(with_tiny: TestClient) -> None:
    assert "tiny" in [model["id"] for model in with_tiny.get("/v1/models").json()["data"]]


def test_a_broken_model_spoils_neither_the_list_nor_the_servers_secrets(with_tiny: TestClient, tmp_path: Path) -> None:
    broken = tmp_path / "data" / "models" / "broken"
    broken.mkdir()
    (broken / MANIFEST).write_text("{")

    answer = with_tiny.get("/v1/models/broken")

    assert "broken" not in [model["id"] for model in with_tiny.get("/v1/models").json()["data"]]
    assert (answer.status_code, answer.json()["type"]) == (503, "model-unavailable")
    assert str(tmp_path) not in answer.text
