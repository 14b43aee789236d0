"""Each script of `examples/` runs as a user would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
TOPICS = 40
"""Texts of Python's help(), which stand for the user's own."""


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_example_runs_to_its_end(script: Path, tmp_path: Path) -> None:
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_own_rule_drops_texts_of_few_paragraphs(tmp_path: Path) -> None:
    from pydoc_data.topics import topics

    few = sum(topics[name].strip().count("\n\n") < 5 for name in sorted(topics)[:TOPICS])
    assert 0 < few < TOPICS
    assert run(EXAMPLES / "custom_rule.py", tmp_path).stdout == f"{{'paragraphs.few': {few}}}\n"


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
