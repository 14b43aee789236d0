"""The guide to the server says what the code says: its limits, and examples that work as they stand there."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from chat_served import ScriptedRunner, scripted_model
from chats import chat_tokenizer
from in_process import InProcessModels
from listening import Listening, answer_of, listening

from puna.serve.app import make_app
from puna.serve.engine_client import EngineLimits
from puna.serve.limits import Limits

PAGE = (Path(__file__).parents[1] / "docs" / "guide" / "serving.md").read_text(encoding="utf-8")
HERE = "http://127.0.0.1:8000"
UNITS = {"": 1, " s": 1, " KiB": 1 << 10, " MiB": 1 << 20}


def test_limits_are_those_of_the_code_and_each_has_its_origin() -> None:
    rows = re.findall(r"^\| `(\w+)`(?:: [^|]+)? \| ([^|]+) \| [^|]+ \| ([^|]+) \|$", PAGE, flags=re.MULTILINE)
    coded = {field.name: field.default for limits in (Limits, EngineLimits) for field in fields(limits)}
    assert {name: number_of(shown) for name, shown, _ in rows} == coded
    assert all(origin.strip() for *_, origin in rows)


def number_of(shown: str) -> float | None:
    if shown in ("never", "any number"):
        return None
    found = re.fullmatch(r"(\d+)(.*)", shown)
    assert found is not None, shown
    return int(found[1]) * UNITS[found[2]]


@pytest.fixture(scope="module")
def server() -> Iterator[Listening]:
    """A server whose model is called as in the guide, and answers every conversation with what one example expects."""
    model = scripted_model(chat_tokenizer(add_bos=False), name="demo")
    assert isinstance(model.engine.runner, ScriptedRunner)
    model.engine.runner.script = '{"name": "Ada Lovelace", "age": 36}'
    with listening(make_app(InProcessModels(model))) as started:
        yield started


def test_examples_of_python_work(server: Listening, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    code = "\n".join(blocks)
    assert code.count(HERE) == 1
    exec(compile(code.replace(HERE, server.url), "serving.md", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.splitlines() == [
        '{"name": "Ada Lovelace", "age": 36}', "name='Ada Lovelace' age=36"
    ]  # fmt: skip


def test_examples_of_curl_work(server: Listening) -> None:
    found = re.findall(rf"^\$ curl {HERE}(\S+) -H '([^']+)' \\\n +-d '([^']+)'$", PAGE, flags=re.MULTILINE)
    assert [path for path, _, _ in found] == ["/v1/chat/completions", "/v1/completions"]
    assert len(found) == PAGE.count("$ curl ")
    for path, header, body in found:
        lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1:8000", header, f"Content-Length: {len(body)}"]
        raw = server.exchange("\r\n".join([*lines, "Connection: close", "", body]).encode())
        status, _, answer = answer_of(raw)
        assert status == 200, answer
        if "choice" in json.loads(body).get("structured_outputs", {}):
            assert answer["choices"][0]["text"] in (" yes", " no")
