"""A server's application in process, and a client of it; a server with a model in a process, and OpenAI's client."""

from collections.abc import Iterator

import pytest
from in_process import InProcessModels
from serving import chat_model, client, loop, served
from small_served import small_models
from starlette.testclient import TestClient

from puna.serve.app import make_app
from puna.tokenizer.tokenizer import Tokenizer

__all__ = ["chat_model", "client", "loop", "served"]


@pytest.fixture
def models(tokenizer: Tokenizer) -> InProcessModels:
    return small_models(tokenizer)


@pytest.fixture
def http(models: InProcessModels) -> Iterator[TestClient]:
    with TestClient(make_app(models), raise_server_exceptions=False) as client:
        yield client
