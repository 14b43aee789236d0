"""`puna finetune` as users type it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tuned import RECIPE, write_base, write_talks


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a recipe, a model and conversations."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "recipe.toml").write_text(RECIPE)
    write_base(folder / "base")
    write_talks(folder / "talks.jsonl")
    return folder


def puna(place: Path, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "puna", *words], cwd=place, input=typed, capture_output=True, text=True, check=False,
        env=os.environ | {"XDG_CACHE_HOME": str(place / "cache")},
    )  # fmt: skip


def test_a_model_is_tuned_and_chats(place: Path) -> None:
    asked = ("finetune", "recipe.toml", "--model", "base", "--data", "talks.jsonl")
    shown = puna(place, *asked, "--show-batch")
    assert shown.returncode == 0, shown.stderr
    assert "1 | much<|im_end|>" in shown.stdout
    tuned = puna(place, *asked)
    assert tuned.returncode == 0, tuned.stderr
    assert tuned.stdout == ""
    assert "loss on held-out answers: examples" in tuned.stderr
    assert [path.name.partition("-")[0] for path in (place / "data").iterdir()] == ["small"]
    answered = puna(place, "chat", "runs/small-talk", "--temperature", "0", typed="What is 4 and 5?\n")
    assert answered.stdout == "much\n"
    again = puna(place, "finetune", "runs/small-talk", "--resume")
    assert (again.returncode, "trained already" in again.stderr) == (0, True), again.stderr
    traced = puna(place, "data", "trace", "runs/small-talk", "--step", "2")
    assert traced.returncode == 0, traced.stderr
    assert all(
        re.fullmatch(r"\d+\texamples\ttalks\.jsonl#\d+\t\t\d+\t\d+\t\d+", line) for line in traced.stdout.splitlines()
    )
    refused = puna(place, "data", "trace", "runs/small-talk", "--step", "2", "--data-dir", "data")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: --data-dir data: runs/small-talk was tuned, and has its examples with it")
    other = puna(place, "train", "runs/small-talk", "--resume")
    assert other.returncode == 2
    assert "`puna finetune runs/small-talk` does that" in other.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "error: by which recipe is to be tuned was not said"),
        (["recipe.toml", "--data", "talks.jsonl"], "error: which model is to be tuned was not said"),
        (["recipe.toml", "--model", "base"], "error: recipe 'small-talk' names no examples to learn from"),
        (["recipe.toml", "--model", "base", "--data", "x.jsonl"], "error: --data x.jsonl: is not there"),
        (["recipe.toml", "--model", "x", "--data", "talks.jsonl"], "error: x: is not there"),
        (["demo", "--model", "base"], "error: recipe 'demo' has no section [finetune]"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(place: Path, words: list[str], sentence: str) -> None:
    done = puna(place, "finetune", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(sentence)
    assert "Traceback" not in done.stderr
