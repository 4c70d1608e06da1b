import base64
import weakref
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.settings import Settings
from app.zero_shot import label_probabilities
from models.imaging import decode_image
from tests.app.conftest import ITEMS
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture

RED = data_uri(picture("red"))


@pytest.mark.parametrize("given", ["red", ["red"], [{"text": "red"}], {"text": "red"}])
def test_a_text_is_embedded_however_it_is_given(client: TestClient, encoder: FakeEncoder, given: object) -> None:
    answer = client.post("/v1/embeddings", json={"input": given, "model": "default"}).json()

    assert (answer["object"], answer["model"]) == ("list", "default")
    assert answer["usage"] == {"prompt_tokens": 1, "total_tokens": 1}
    [embedding] = answer["data"]
    assert (embedding["object"], embedding["index"], embedding["truncated"]) == ("embedding", 0, False)
    assert np.allclose(embedding["embedding"], encoder.encode_texts(["red"]).vectors[0])


def test_texts_and_pictures_come_back_in_their_order(client: TestClient) -> None:
    given = [{"image": RED}, "red", {"image": data_uri(picture("blue"))}, {"text": "blue"}]

    data = client.post("/v1/embeddings", json={"input": given}).json()["data"]

    vectors = np.array([part["embedding"] for part in data])
    assert [part["index"] for part in data] == [0, 1, 2, 3]
    assert np.argmax(vectors[[0, 2]] @ vectors[[1, 3]].T, axis=1).tolist() == [0, 1]


def test_more_pictures_than_fit_at_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.embedding.IMAGES_AT_ONCE", 2)
    images = [{"image": data_uri(picture((index * 20, 0, 0)))} for index in range(5)]

    whole = client.post("/v1/embeddings", json={"input": images}).json()["data"]
    alone = client.post("/v1/embeddings", json={"input": images[4]}).json()["data"][0]

    assert np.allclose(whole[4]["embedding"], alone["embedding"], atol=1e-6)


def test_of_many_pictures_one_is_decoded_at_a_time(
    client: TestClient, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[weakref.ref[Image.Image]] = []
    encode = encoder.encode_pixels

    def embed(pixels: Any) -> Any:
        assert not any(seen() for seen in decoded)
        return encode(pixels)

    def decode(*args: Any) -> Image.Image:
        assert not any(seen() for seen in decoded)
        image = decode_image(*args)
        decoded.append(weakref.ref(image))
        return image

    monkeypatch.setattr("app.embedding.decode_image", decode)
    monkeypatch.setattr(encoder, "encode_pixels", embed)
    images = [{"image": data_uri(picture((index * 20, 0, 0)))} for index in range(5)]

    assert client.post("/v1/embeddings", json={"input": images}).status_code == 200
    assert len(decoded) == len(images)


def test_base64_is_little_endian_float32(client: TestClient) -> None:
    numbers = client.post("/v1/embeddings", json={"input": "red"}).json()["data"][0]["embedding"]
    encoded = client.post("/v1/embeddings", json={"input": "red", "encoding_format": "base64"}).json()

    decoded = np.frombuffer(base64.b64decode(encoded["data"][0]["embedding"]), dtype="<f4")
    assert np.array_equal(decoded, np.array(numbers, dtype=np.float32))


def test_the_models_own_dimension_may_be_asked_for(client: TestClient) -> None:
    assert client.post("/v1/embeddings", json={"input": "red", "dimensions": 16}).status_code == 200


def test_a_long_text_is_cut_and_reported(client: TestClient) -> None:
    data = client.post("/v1/embeddings", json={"input": ["red", "red " * 500]}).json()["data"]

    assert [part["truncated"] for part in data] == [False, True]


def test_a_picture_gets_the_label_that_fits(client: TestClient) -> None:
    answer = client.post("/v1/classify", json={"image": RED, "labels": ["blue", "red", "green"]}).json()

    assert answer["labels"][0]["label"] == "red"
    assert sum(part["score"] for part in answer["labels"]) == pytest.approx(1)


def test_an_item_is_classified_without_its_picture_being_embedded_again(
    client: TestClient, encoder: FakeEncoder
) -> None:
    client.put(f"{ITEMS}/a", json={"image": RED})
    before = encoder.encoded_images

    answer = client.post("/v1/classify", json={"item": "a", "labels": ["blue", "red"], "template": "{} and {}"})

    assert answer.json()["labels"][0]["label"] == "red"
    assert encoder.encoded_images == before


def test_an_item_without_a_picture_cannot_be_classified(client: TestClient) -> None:
    client.put(f"{ITEMS}/a", json={"text": "red"})

    answer = client.post("/v1/classify", json={"item": "a", "labels": ["red"]})

    assert (answer.status_code, answer.json()["type"]) == (404, "original-missing")


def test_probabilities_are_a_softmax_of_scaled_cosines(encoder: FakeEncoder) -> None:
    image = encoder.encode_texts(["red"]).vectors[0]
    labels = ["red", "blue"]
    cosines = [float(vector @ image) for vector in encoder.encode_texts(labels).vectors]

    scores = label_probabilities(image, labels, "{}", encoder)

    assert scores[0] / scores[1] == pytest.approx(np.exp(10 * (cosines[0] - cosines[1])), rel=1e-4)


def test_a_template_is_no_format_string(client: TestClient, settings: Settings) -> None:
    body = {"image": RED, "labels": ["red"], "template": "{} {0.__class__} {x}"}

    assert client.post("/v1/classify", json=body).status_code == 200
