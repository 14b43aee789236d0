"""HumanEval and MBPP: prompts, what is run, and the estimator over samples."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from benchmark_rows import Rows
from referee import Referee, by_us

from puna.core.errors import EvaluateError
from puna.evaluate.example import Answer, Example, Write, Written
from puna.evaluate.sandbox.sandbox import Isolation, Outcome, code_execution_allowed
from puna.evaluate.task import Task
from puna.evaluate.tasks import code
from puna.evaluate.tasks.code import TASKS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are run on Linux only")

TASK = {task.id: task for task in TASKS}
FUNCTION = {
    "task_id": "HumanEval/900", "entry_point": "add", "canonical_solution": "    return a + b\n",
    "prompt": 'def add(a, b):\n    """Adds."""\n', "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n",
}  # fmt: skip
DESCRIBED = [
    {
        "task_id": number, "text": f"Write a function f{number} that gives {number}.",
        "code": f"def f{number}():\r\n    return {number}", "test_setup_code": "", "challenge_test_list": [],
        "test_list": [f"assert f{number}() == {number}", f"assert f{number}() < 1000", "assert True"],
    }
    for number in range(1, 13)
]  # fmt: skip


def asked(example: Example) -> Write:
    assert isinstance(example.ask, Write)
    return example.ask


def judged(task: Task, example: Example, *texts: str) -> tuple[dict[str, float | None], dict[str, object]]:
    answer = Answer(written=tuple(Written(text=text, tokens=1, finish="stop") for text in texts))
    with code_execution_allowed():
        values, shown = task.judge(example, answer)
    return dict(values), dict(shown)


def test_samples_and_temperatures_are_those_of_the_paper_or_of_the_papers_it_cites() -> None:
    settings = {}
    for name in ("humaneval@0", "humaneval_100@0"):
        ask = asked(TASK[f"llama/{name}"].example(FUNCTION, (), "0"))
        settings[name] = (ask.n, ask.temperature, ask.top_p)
    for name in ("mbpp@3", "mbpp_80@3"):
        ask = asked(TASK[f"llama/{name}"].example(DESCRIBED[9], DESCRIBED[1:4], "0"))
        settings[name] = (ask.n, ask.temperature, ask.top_p)
    assert settings == {
        "humaneval@0": (10, 0.1, 0.95), "humaneval_100@0": (200, 0.8, 0.95), "mbpp@3": (10, 0.1, 0.95),
        "mbpp_80@3": (80, 0.8, 0.95),
    }  # fmt: skip


def test_with_fewer_samples_k_is_their_number_and_the_metric_says_so() -> None:
    assert list(TASK["llama/humaneval_100@0"].with_samples(20).metrics) == ["pass@20"]
    assert list(TASK["llama/humaneval_100@0"].with_samples(150).metrics) == ["pass@100"]
    assert list(TASK["llama/mbpp_80@3"].with_samples(20).metrics) == ["pass@20"]
    assert list(TASK["llama/humaneval@0"].with_samples(20).metrics) == ["pass@1"]
    assert asked(TASK["llama/mbpp_80@3"].with_samples(20).example(DESCRIBED[9], (), "0")).n == 20


def test_the_function_s_beginning_is_the_prompt() -> None:
    ask = asked(TASK["llama/humaneval@0"].example(FUNCTION, (), "0"))
    assert ask.prompt == FUNCTION["prompt"]
    assert ask.stop == ("\nclass", "\ndef", "\n#", "\nif", "\nprint")


def test_mbpp_has_tasks_2_to_4_before_it_and_one_kind_of_line_end() -> None:
    task = TASK["llama/mbpp@3"]
    assert task.draws is not None
    (shots,) = task.draws(DESCRIBED[:10], [DESCRIBED[11]], 3)
    assert [shot["task_id"] for shot in shots] == [2, 3, 4]
    assert asked(task.example(DESCRIBED[11], shots[:1], "0")).prompt == (
        "You are an expert Python programmer, and here is your task: Write a function f2 that gives 2. Your code "
        "should pass these tests:\n\nassert f2() == 2\nassert f2() < 1000\nassert True\n[BEGIN]\ndef f2():\n"
        "    return 2\n[DONE]\n\n"
        "You are an expert Python programmer, and here is your task: Write a function f12 that gives 12. Your code "
        "should pass these tests:\n\nassert f12() == 12\nassert f12() < 1000\nassert True\n[BEGIN]\n"
    )


def test_the_estimator_counts_samples_that_pass_all_tests() -> None:
    task = TASK["llama/humaneval_100@0"].with_samples(4)
    example = task.example(FUNCTION, (), "0")
    texts = ["    return a + b\n", "    return a - b\n", "    return a + b\n", "    return a +\n"]
    values, shown = judged(task, example, *texts)
    assert values == {"pass@4": 1.0}
    assert shown["passed"] == [True, False, True, False]
    assert shown["errors"] == ["", "AssertionError", "", "SyntaxError: invalid syntax (program, line 3)"]
    values, _ = judged(TASK["llama/humaneval@0"], example, *texts)
    assert values == {"pass@1": 0.5}


def test_one_of_several_tests_that_fails_is_enough() -> None:
    task = TASK["llama/mbpp@3"]
    example = task.example(DESCRIBED[11], DESCRIBED[1:4], "0")
    assert judged(task, example, "def f12():\n    return 12\n")[0] == {"pass@1": 1.0}
    assert judged(task, example, "x = []\ndef f12():\n    x.append(1)\n    return 12 if len(x) < 2 else 1000")[0] == {
        "pass@1": 0.0
    }


def test_no_more_programs_run_at_once_than_this_process_may_use_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 128 processors that lends two of them would else start 128 programs, each with a gigabyte."""
    now, most, lock = 0, 0, threading.Lock()

    def counted(program: str, *, isolation: Isolation) -> Outcome:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        return Outcome(passed=True, error="")

    monkeypatch.setattr(code, "run_program", counted)
    monkeypatch.setattr(code.os, "sched_getaffinity", lambda process: {3})
    monkeypatch.setattr(code.os, "cpu_count", lambda: 8)
    task = TASK["llama/humaneval@0"]
    texts = [f"    return {number}" for number in range(20)]
    assert judged(task, task.example(FUNCTION, (), "0"), *texts)[0] == {"pass@1": 1.0}
    assert most == 1


def test_nothing_is_run_without_permission() -> None:
    example = TASK["llama/humaneval@0"].example(FUNCTION, (), "0")
    answer = Answer(written=(Written(text="    return a + b", tokens=1, finish="stop"),))
    with pytest.raises(EvaluateError, match="must be allowed"):
        TASK["llama/humaneval@0"].judge(example, answer)
    assert all(task.needs_code for task in TASKS)


def test_every_solution_of_humaneval_passes(real_rows: Rows) -> None:
    task = TASK["harness/humaneval@0"]
    rows = real_rows("humaneval", "test")
    assert len(rows) == 164
    assert failing(task, [(task.example(row, (), ""), row["canonical_solution"]) for row in rows]) == []
    assert len(failing(task, [(task.example(row, (), ""), "    pass\n") for row in rows[:8]])) == 8


def test_every_solution_of_mbpp_s_test_split_passes(real_rows: Rows) -> None:
    task = TASK["llama/mbpp@3"]
    rows = real_rows("mbpp", "test")
    assert [row["task_id"] for row in rows] == list(range(11, 511))
    assert failing(task, [(task.example(row, (), ""), row["code"]) for row in rows]) == []


def failing(task: Task, solutions: list[tuple[Example, str]]) -> list[str]:
    """The ids of those that do not pass."""

    def passes(solution: tuple[Example, str]) -> bool:
        example, text = solution
        return task.judge(example, Answer(written=(Written(text=text, tokens=1, finish="stop"),)))[0] == {"pass@1": 1.0}

    with code_execution_allowed(), ThreadPoolExecutor(2) as threads:
        found = list(threads.map(passes, solutions))
    return [example.id for (example, _), passed in zip(solutions, found, strict=True) if not passed]


def test_requests_equal_those_of_the_harness(real_rows: Rows) -> None:
    """Its scores come from a metric of the hub that runs programs in its own process; they are not asked for here."""
    functions = real_rows("humaneval", "test", 20)
    ours = by_us(TASK["harness/humaneval@0"], functions)
    assert ours.requests() == Referee("humaneval/humaneval.yaml", {"test": functions}).requests()
    described = real_rows("mbpp", "test", 20)
    task = TASK["harness/mbpp@3"]
    assert task.draws is not None
    shots = list(task.draws(real_rows("mbpp", "prompt"), described, 3))
    ours = by_us(task, described, shots=lambda place, _: shots[place])
    assert ours.requests() == Referee("mbpp/mbpp.yaml", {"test": described}).requests()
