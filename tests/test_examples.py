"""Each script of `examples/` runs as a user would run it, and prints what its comments say that it prints."""

import functools
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
TOPICS = 40
"""Texts of Python's help(), which stand for the user's own."""


Ran = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ran]:
    """Runs an example, once for all tests, in a directory of its own; returns the directory and how it ended."""

    @functools.cache
    def once(name: str) -> Ran:
        # This one asks the model that the other one trains.
        directory = once("train_on_my_text.py")[0] if name == "generate.py" else tmp_path_factory.mktemp("example")
        return directory, run(EXAMPLES / name, directory)

    return once


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_example_runs_to_its_end(ran: Callable[[str], Ran], name: str) -> None:
    _, done = ran(name)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_own_rule_drops_texts_of_few_paragraphs(ran: Callable[[str], Ran]) -> None:
    from pydoc_data.topics import topics

    few = sum(topics[name].strip().count("\n\n") < 5 for name in sorted(topics)[:TOPICS])
    assert 0 < few < TOPICS
    assert ran("custom_rule.py")[1].stdout == f"{{'paragraphs.few': {few}}}\n"


def test_training_example_leaves_a_model_and_is_short_when_called_again(ran: Callable[[str], Ran]) -> None:
    script = EXAMPLES / "train_on_my_text.py"
    directory, first = ran(script.name)
    second = run(script, directory)
    assert (directory / "runs" / "my_text" / "model" / "model.safetensors").is_file()
    assert "trained already" in second.stderr
    assert first.stdout.splitlines()[1:] == second.stdout.splitlines()[1:]
    assert len(script.read_text(encoding="utf-8").splitlines()) < 40


def test_recipe_of_the_examples_bears_its_files_name() -> None:
    table = tomllib.loads((EXAMPLES / "my_text.toml").read_text(encoding="utf-8"))
    assert table["name"] == "my_text"


def run(script: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    from pydoc_data.topics import topics

    (directory / "texts").mkdir(exist_ok=True)
    for name in sorted(topics)[:TOPICS]:
        (directory / "texts" / f"{name}.txt").write_text(topics[name], encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script)]
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=300, check=False, env=environment
    )
