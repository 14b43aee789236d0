"""llama.cpp in a process of its own, and what becomes of one that does not answer."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import ExportError
from puna.formats.gguf import llama_server as module
from puna.formats.gguf.llama_server import LlamaServer, NotAnsweringError
from puna.formats.gguf.write import write_gguf
from puna.tokenizer.tokenizer import Tokenizer

pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.oracle


@pytest.fixture
def file(source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path) -> Path:
    write_gguf(source(), tokenizer, tmp_path, file_type="F32")
    return tmp_path / "model-F32.gguf"


def test_it_answers_and_its_process_ends_with_the_block(file: Path, tokenizer: Tokenizer) -> None:
    with LlamaServer(file) as server:
        body = {"content": "def frame", "add_special": True, "parse_special": False}
        assert server.ask("tokenize", body)["tokens"] == tokenizer.encode("def frame", bos=True)
        assert server._process.poll() is None
    assert server._process.returncode == -9


def test_a_file_that_is_refused_leaves_no_process(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(LlamaServer, "close", lambda self: (closed.append(self._process), self._process.kill()))
    file.write_bytes(file.read_bytes()[:-4000])
    with pytest.raises(ExportError, match=r"model-F32\.gguf: llama\.cpp does not load it: "):
        LlamaServer(file)
    (process,) = closed
    process.communicate()


def test_a_process_that_says_nothing_is_ended(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_START", "import time; time.sleep(1000)")
    monkeypatch.setattr(module, "_BASE_S", 0)
    with pytest.raises(NotAnsweringError, match="has not loaded the file"):
        LlamaServer(file)


def test_a_server_that_takes_a_request_and_is_silent_is_not_waited_for(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LlamaServer(file) as server, socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(server, "address", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(server, "_most_s", 0.01)
        with pytest.raises(NotAnsweringError, match="does not answer"):
            server.ask("tokenize", {})
