"""`puna serve` as a process: it loads, says where it is, answers, and ends when it is told."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import openai
import pytest
from serving import chat_model

import puna

__all__ = ["chat_model"]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "puna", "serve", *map(str, arguments)]


def test_models_are_served_by_their_names_until_ctrl_c(chat_model: Path) -> None:
    arguments = (chat_model, f"small={chat_model},weights=int8", "--port", "0", "--threads", "1")
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = iter(process.stderr.readline, "")
            found = next(match for line in said if (match := re.search(r"chatty, small at (http://\S+) ", line)))
            with openai.OpenAI(base_url=f"{found[1]}/v1", api_key="none") as client:
                assert sorted(model.id for model in client.models.list()) == ["chatty", "small"]
                for name, weights in (("chatty", None), ("small", "int8")):
                    answer = client.completions.create(model=name, prompt="What is", max_tokens=8, temperature=0)
                    model = puna.load(chat_model, weights=weights, measure=False)
                    assert answer.choices[0].text == model.generate("What is", max_tokens=8, temperature=0)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=120) == 130
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere"),
        (["nowhere", "--keys", "missing.txt"], "missing.txt"),
        (["nowhere", "--requests-per-minute", "6"], "requests_per_minute is of each key, and there are none"),
    ],
)
def test_what_cannot_be_served_is_a_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    done = subprocess.run(
        command(*arguments, "--port", "0"), capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False
    )
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []
