"""Models by their names."""

import asyncio
import os
from typing import Any

import pytest
from light_loaders import Missing, Silent
from listening import listening

from puna.core.errors import UserError
from puna.serve.app import make_app
from puna.serve.engine_client import EngineClient, EngineLimits
from puna.serve.errors import ApiError
from puna.serve.models import Models
from puna.serve.run import Server, Settings, bind


def models(*loaders: Any) -> Models:
    names = ["llama-7b", "smol"]
    return Models([EngineClient(name, loader, EngineLimits()) for name, loader in zip(names, loaders, strict=True)])


def test_a_name_that_there_is_not_is_answered_with_the_nearest_or_all() -> None:
    async def work() -> None:
        served = models(Silent(), Silent())
        assert served.get("smol").name == "smol"
        assert [model.name for model in served] == ["llama-7b", "smol"]
        assert served.default.name == "llama-7b"
        for asked, said in (("lama-7b", "did you mean 'llama-7b'?"), ("gpt-4", "there is llama-7b, smol")):
            with pytest.raises(ApiError, match="there is no model") as caught:
                served.get(asked)
            assert said in caught.value.message
            assert (caught.value.status, caught.value.param, caught.value.code) == (404, "model", "model_not_found")
            assert caught.value.body["error"]["type"] == "not_found_error"

    asyncio.run(work())


def test_a_name_of_megabytes_is_compared_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        with pytest.raises(ApiError, match=r"there is llama-7b, smol$"):
            models(Silent(), Silent()).get("smol" * 100_000)

    monkeypatch.setattr("puna.serve.models.get_close_matches", pytest.fail)
    asyncio.run(work())


def test_where_one_cannot_be_loaded_none_is_left() -> None:
    async def work() -> None:
        served = models(Silent(), Missing())
        with pytest.raises(UserError, match="no such file") as caught:
            await served.start()
        assert caught.value.hint == "look for it"
        assert served.states == {"llama-7b": "stopped", "smol": "stopped"}
        assert [model.pid for model in served] == [None, None]

    asyncio.run(work())


def test_models_live_as_long_as_the_server() -> None:
    served = Models([EngineClient("fake", Silent(), EngineLimits())])
    with listening(make_app(served), models=served) as server:
        assert served.states == {"fake": "ready"}
        answer = server.exchange(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        pid = served.default.pid
        assert pid is not None
    assert served.states == {"fake": "stopped"}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_whose_model_cannot_be_loaded_ends_with_the_reason() -> None:
    served = Models([EngineClient("missing", Missing(), EngineLimits())])
    with pytest.raises(UserError, match=r"x\.gguf: no such file"):
        Server(make_app(served), Settings()).serve_at(bind(port=0), served)
