"""A server's application in process, and a client of it; a server with a model in a process, and OpenAI's client."""

from collections.abc import Iterator

import pytest
from chat_served import scripted_model
from chats import chat_tokenizer
from in_process import InProcessModel, InProcessModels
from serving import chat_model, client, loop, served
from small_served import small_models
from starlette.testclient import TestClient

from puna.serve.app import make_app
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.tokenizer import Tokenizer

__all__ = ["chat_model", "client", "loop", "served"]


@pytest.fixture(scope="session")
def chatty() -> ByteBPETokenizer:
    """A tokenizer with the tokens of turns and calls."""
    return chat_tokenizer(add_bos=False)


@pytest.fixture
def scripted(chatty: ByteBPETokenizer) -> InProcessModel:
    """A model that says what it is told."""
    return scripted_model(chatty)


@pytest.fixture
def models(tokenizer: Tokenizer) -> InProcessModels:
    return small_models(tokenizer)


@pytest.fixture
def http(models: InProcessModels) -> Iterator[TestClient]:
    with TestClient(make_app(models), raise_server_exceptions=False) as client:
        yield client
