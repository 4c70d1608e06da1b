"""OpenAI's own client against a real server."""

from collections.abc import Iterator

import numpy as np
import openai
import pytest
from openai import OpenAI

from tests.fakes import FakeEncoder


@pytest.fixture
def client(server_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server_url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_it_gets_embeddings_in_its_default_encoding(client: OpenAI, encoder: FakeEncoder) -> None:
    answer = client.embeddings.create(model="default", input=["red", "blue"])

    vectors = np.array([part.embedding for part in answer.data])
    assert np.allclose(vectors, encoder.encode_texts(["red", "blue"]).vectors, atol=1e-6)
    assert (answer.model, answer.usage.prompt_tokens) == ("default", 2)


def test_it_gets_embeddings_as_numbers(client: OpenAI) -> None:
    answer = client.embeddings.create(model="default", input="red", encoding_format="float", dimensions=16)

    assert len(answer.data[0].embedding) == 16


def test_it_raises_its_own_errors(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as tokens:
        client.embeddings.create(model="default", input=[[1, 2, 3]])
    with pytest.raises(openai.NotFoundError) as unknown:
        client.embeddings.create(model="ada", input="red")

    assert problem_type(tokens.value) == "tokens-unsupported"
    assert problem_type(unknown.value) == "model-not-found"


def problem_type(error: openai.APIStatusError) -> object:
    assert isinstance(error.body, dict)
    return error.body["type"]


def test_it_lists_models(client: OpenAI) -> None:
    assert client.models.list().object == "list"
