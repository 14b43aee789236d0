"""Tasks of LLM-foundry on its own files, and those whose files are made of the sets themselves."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from referee import by_us
from shelf import real

from puna.benchmarks.manifest import find_entry
from puna.evaluate.draws import foundry_draws
from puna.evaluate.example import Choose, Continue, Write
from puna.evaluate.task import Task
from puna.evaluate.tasks.foundry import TASKS, hellaswag_rows, mmlu_rows

__all__ = ["real"]

TASK = {task.name: task for task in TASKS}
FILES = {
    "arc_challenge": 1172, "arc_easy": 2376, "boolq": 3270, "copa": 100, "lambada_openai": 5153, "openbook_qa": 500,
    "piqa": 1838, "triviaqa_sm_sub": 3000, "winogender_mc_female": 60, "winogender_mc_male": 60, "winograd_wsc": 273,
    "winogrande": 1267,
}  # fmt: skip
OF = {task.data.removeprefix("foundry_"): task for task in TASKS if task.data.startswith("foundry_")}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


@pytest.mark.parametrize("name", FILES)
def test_every_document_of_foundry_s_own_file_is_asked_and_a_model_that_guesses_scores_chance(
    name: str, real: Callable[[str], Path]
) -> None:
    rows = lines(real(f"eval/llm_foundry/{name}.jsonl.gz"))
    ours = by_us(OF[name], rows)
    assert len(ours.examples) == FILES[name]
    for example in ours.examples:
        if isinstance(example.ask, Choose):
            assert all(0 <= gold < len(example.ask.options) for gold in example.ask.gold)
            assert all(option.text.strip() and option.context for option in example.ask.options)
    if all(isinstance(example.ask, Choose) for example in ours.examples):
        value, chance = ours.scores()["acc"] or 0.0, OF[name].chance or 0.0
        assert abs(value - chance) < 4 * (chance * (1 - chance) / len(rows)) ** 0.5


def test_every_file_has_its_task() -> None:
    assert set(OF) == set(FILES)


def test_the_tasks_of_openlm_s_tables_are_here_without_solved_examples() -> None:
    table = (
        "arc_challenge", "arc_easy", "boolq", "copa", "hellaswag", "lambada_openai", "piqa", "winogrande", "mmlu",
        "jeopardy", "winograd",
    )  # fmt: skip
    assert [TASK[name].id for name in table] == [f"foundry/{name}@0" for name in table]


def test_mmlu_has_the_wording_of_foundry_s_file() -> None:
    row = {
        "question": "What is 2 + 2?", "choices": ["1", "2", "4", "5"], "answer": 2, "subject": "elementary_mathematics",
    }  # fmt: skip
    (made,) = by_us(TASK["mmlu"], [row]).examples
    assert made.category == "elementary_mathematics"
    assert isinstance(made.ask, Choose)
    assert made.ask.gold == (2,)
    assert made.ask.options[0].context == "Question: What is 2 + 2?\nChoices\nA. 1\nB. 2\nC. 4\nD. 5\nAnswer:"
    assert [option.continuation for option in made.ask.options] == [" A", " B", " C", " D"]


def test_solved_examples_of_mmlu_are_drawn_from_the_document_s_subject() -> None:
    rows = [
        {"question": f"{at}?", "choices": ["1", "2", "3", "4"], "answer": 0, "subject": ("law", "anatomy")[at % 2]}
        for at in range(20)
    ]
    task = TASK["mmlu"].with_shots(5)
    assert (task.id, task.draws, task.shot_split) == ("foundry/mmlu@5", foundry_draws, task.split)
    made = list(mmlu_rows(rows))
    assert task.group is not None
    assert [task.group(row) for row in made[:3]] == ["law", "anatomy", "law"]


def test_hellaswag_has_the_wording_of_foundry_s_file() -> None:
    row = {
        "activity_label": "Roof shingle removal", "ctx_a": "A man is sitting on a roof.", "ctx_b": "he", "label": "3",
        "endings": ["is using wrap to wrap a pair of skis.", "is ripping level tiles off.", "[step] Holds.", "starts"],
    }  # fmt: skip
    (made,) = hellaswag_rows([row])
    assert made == {
        "query": "Roof shingle removal: A man is sitting on a roof. He", "gold": 3,
        "choices": ["is using wrap to wrap a pair of skis.", "is ripping level tiles off.", " Holds.", "starts"],
    }  # fmt: skip


def test_jeopardy_is_asked_as_foundry_does_and_its_categories_weigh_the_same() -> None:
    rows = [
        {"category": category, "context": f"{category.upper()}: Clue {at}", "continuation": f"Answer {at}"}
        for category, n in (("science", 6), ("literature", 2))
        for at in range(n)
    ]
    ours = by_us(TASK["jeopardy"], rows)
    ask = ours.examples[0].ask
    assert ask == Continue(context="SCIENCE: Clue 0\nAnswer:", target=" Answer 0", text="Answer 0")
    values = [one.values["acc"] or 0.0 for one in ours.judged()]
    assert ours.scores()["acc"] == (sum(values[:6]) / 6 + sum(values[6:]) / 2) / 2


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_has_its_data_its_chance_and_foundry_s_way_to_draw(task: Task) -> None:
    assert find_entry(task.data, task.split).set.title
    assert task.chance is not None
    assert task.draws is foundry_draws


def test_triviaqa_is_written_greedily() -> None:
    row = {"context": "Question: What?\nAnswer:", "answer": "Onion", "aliases": ["Onions", "Onion"]}
    (made,) = by_us(TASK["triviaqa"], [row]).examples
    assert isinstance(made.ask, Write)
    assert (made.ask.prompt, made.ask.temperature) == ("Question: What?\nAnswer:", 0.0)
    assert made.facts == {"answers": ["Onion", "Onions"]}
