"""Tasks are found by their names; those that packages add are among them."""

from dataclasses import replace
from importlib import import_module

import pytest

from puna.core.errors import EvaluateError
from puna.evaluate import registry
from puna.evaluate.protocols import PROTOCOLS
from puna.evaluate.registry import FAMILIES, GROUP, find_task, is_outdated, tasks
from puna.evaluate.task import Task


def test_every_task_of_every_family_is_found_by_its_protocol_and_name() -> None:
    known = tasks()
    own = [task for family in FAMILIES for task in import_module(f"puna.evaluate.tasks.{family}").TASKS]
    assert own
    assert set(known) == {f"{task.protocol.name}/{task.name}" for task in own}
    assert len(known) == len(own)
    for key, task in known.items():
        assert find_task(key) is task
        assert task.protocol is PROTOCOLS[task.protocol.name]


def test_every_task_names_its_data_and_has_figures() -> None:
    for task in tasks().values():
        assert task.title
        assert task.data
        assert task.split
        assert task.metrics
        assert task.name == task.name.lower()
        assert task.version >= 1
        assert not task.shots or task.pick == "own" or task.shot_split, task.id


def test_another_number_of_shots_is_the_same_task_otherwise() -> None:
    task = find_task("harness/hellaswag")
    more = find_task("harness/hellaswag@10")
    assert (more.shots, more.id) == (10, "harness/hellaswag@10")
    assert replace(more, shots=task.shots) == task


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("olmes/gold_gsm8k@2", "olmes/gold_gsm8k: its prompt has 8 solved examples of its own, not 2"),
        ("llama/race_high@5", "llama/race_high: is asked without solved examples, so 5 of them cannot be had"),
    ],
)
def test_solved_examples_that_a_task_cannot_have_are_refused(name: str, says: str) -> None:
    with pytest.raises(EvaluateError) as error:
        find_task(name)
    assert str(error.value) == says
    key = name.partition("@")[0]
    assert find_task(f"{key}@{find_task(key).shots}") is find_task(key)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("harness/helaswag", "'harness/helaswag' is not a task\n  hint: did you mean harness/hellaswag"),
        ("hellaswag", "did you mean .*harness/hellaswag"),
        ("zzz", "`puna evaluate --list` names all"),
        ("harness/hellaswag@", "shots is '', but must be a whole number, as in harness/hellaswag@5"),
        ("harness/hellaswag@-1", "shots is '-1'"),
        ("harness/hellaswag@\u0663", "shots is '\u0663'"),
        ("harness/hellaswag@1000000", "shots is '1000000'"),
    ],
)
def test_a_name_that_is_not_a_task_is_refused_with_what_is_near(name: str, says: str) -> None:
    with pytest.raises(EvaluateError, match=says):
        find_task(name)


def test_tasks_of_packages_are_added_and_cannot_take_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = replace(find_task("harness/hellaswag"), name="mine")
    added = {"mine": mine}

    def load_plugins(group: str, kind: type) -> dict[str, Task]:
        assert (group, kind) == (GROUP, Task)
        return added

    monkeypatch.setattr(registry, "load_plugins", load_plugins)
    assert find_task("harness/mine") is mine
    added["other"] = replace(mine, name="hellaswag")
    with pytest.raises(EvaluateError, match=r"puna.tasks: two tasks are called 'harness/hellaswag'"):
        tasks()


def test_a_result_is_outdated_where_the_task_or_its_protocol_has_another_version() -> None:
    task = find_task("harness/hellaswag")
    now = task.protocol.version, task.version
    assert not is_outdated("harness/hellaswag@5", *now)
    assert is_outdated("harness/hellaswag@5", now[0], now[1] + 1)
    assert is_outdated("harness/hellaswag@0", now[0] + 1, now[1])
    assert not is_outdated("own/capitals@0", 7, 7)
