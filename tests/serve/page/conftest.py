"""One browser for all tests of the page; each has a server of its own, whose port is an origin without any memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chats import TEMPLATES, chat_tokenizer
from chromium import chromium
from http_server import http_server
from in_process import InProcessModel, InProcessModels
from model_source import random_model
from scripted_chat import Script, scripted_chat

import puna
from puna.chat.template import ChatTemplate
from puna.config.recipe import ModelConfig
from puna.model.files import save_model
from puna.serve.app import make_app

SHAPE = {"dim": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 64, "context": 512}


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the browser puts files."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def page_browser(tmp_path_factory: pytest.TempPathFactory, downloads: Path) -> Iterator[Any]:
    """Chromium."""
    with chromium(tmp_path_factory.mktemp("chromium"), downloads) as driver:
        yield driver


@pytest.fixture
def script() -> Iterator[Script]:
    """A server whose model says what the test wants."""
    with scripted_chat() as made:
        yield made


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of two small models with random weights: `chatty` knows turns, `plain` does not."""
    models = []
    for name, template in (("chatty", TEMPLATES["chatml"]), ("plain", None)):
        directory = tmp_path_factory.mktemp("served") / name
        tokenizer = chat_tokenizer(add_bos=False)
        config = ModelConfig.model_validate({**SHAPE, "vocab_size": tokenizer.vocab_size})
        save_model(random_model(config, std=0.2), directory, tokenizer=tokenizer, inputs={}, chat_template=template)
        model = puna.load(directory)
        turns = ChatTemplate(template, model.tokenizer) if template else None
        models.append(InProcessModel(name, model.engine, model.tokenizer, turns))
    with http_server(make_app(InProcessModels(*models))) as url:
        yield url
