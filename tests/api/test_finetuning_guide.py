"""docs/guide/finetuning.md is true: the task's rows and recipe are written and tuned as the guide has them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tuned import write_base

import puna
from puna.core.layout import DataDir
from puna.finetune.examples import read_examples

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "finetuning.md").read_text(encoding="utf-8")
SECTION = GUIDE.partition("## Tasks and their templates")[2].partition("\n## ")[0]
BLOCKS = dict(re.findall(r"```(\w+)\n(.*?)```", SECTION, re.DOTALL))


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the guide's rows and its recipe, in which a small model is to be tuned."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nli.toml").write_text(BLOCKS["toml"])
    subprocess.run([sys.executable, "-c", BLOCKS["python"]], check=True)
    write_base(tmp_path / "base")
    return tmp_path


def test_task_of_the_guide_is_written_by_all_of_its_patterns_and_learned(task: Path) -> None:
    few = {"train.compile": False, "samples.max_tokens": 2, "train.batch_tokens": 256, "train.micro_batch_tokens": 256}
    recipe = puna.recipe("nli.toml", few)
    shown = puna.show_batch(recipe, model="base", sequences=2)
    assert "nli/rte.jsonl#" in shown
    examples = [
        found.example
        for split in ("train", "heldout")
        for found in read_examples(DataDir(task / "data" / "nli"), split)
    ]
    asked = ["".join(turn.content for turn in found.messages[:-1]) for found in examples]
    answers = [found.messages[-1].content for found in examples]
    assert len(examples) == 420
    for question, answer in [
        ("Does it follow that", "yes"), ("OPTIONS:\n- yes\n- no", "no"), ("Explain.", "So the answer is yes."),
        ("\nTrue? no\n\n\nText: ", "True? yes"), ("Write a text and an answer about", "is taller than"),
    ]:  # fmt: skip
        assert any(question in one and answer in other for one, other in zip(asked, answers, strict=True)), question
    run = puna.finetune(recipe, model="base", stop_at=1)
    assert run.examples.is_dir()
    assert [path.name for path in run.checkpoints.iterdir()]
