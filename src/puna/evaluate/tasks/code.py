"""HumanEval and MBPP: programs that are run.

`llama` follows section 3.5 of Touvron et al. (2023): HumanEval (Chen et al., 2021) without examples, MBPP (Austin et
al., 2021) with three; temperature 0.1 for pass@1 and 0.8 for pass@100 and pass@80; the unbiased estimator. What it
leaves open is settled so:

- Samples: 10 for pass@1, where they hardly differ; 200 for pass@100, as Chen et al. took; 80 for pass@80, as Austin et
  al. did. With fewer samples than k, k is their number, and the metric's name says so.
- Top-p is 0.95 and a function ends where Chen et al. end it (section 3.2: at a line that
  begins with class, def, #, if or print); one of MBPP ends at "[DONE]". Neither has more than 512 tokens.
- MBPP's prompt and its three examples, tasks 2 to 4, are those of Austin et al., section 4; asked are the 500 tasks of
  its test split, 11 to 510. All listed tests must pass.

`harness` has `humaneval`, `humaneval_64` and `mbpp` of lm-evaluation-harness, which does not run the lines that two
tasks of MBPP need before their tests (367 of the asked ones). Its scorer gives a program 3 s on the clock; ours gives
it processor time (`puna.evaluate.sandbox`).
"""

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from puna.evaluate.answers.voting import pass_at
from puna.evaluate.example import Answer, Example, Row, Write
from puna.evaluate.figure import mean
from puna.evaluate.protocols import HARNESS, LLAMA
from puna.evaluate.sandbox.sandbox import permitted_isolation, run_program
from puna.evaluate.task import Protocol, Task, Verdict

LONGEST = 512
TOP_P = 0.95
FEW, HUMANEVAL_SAMPLES, MBPP_SAMPLES = 10, 200, 80
_FUNCTION_ENDS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
_HARNESS_LONGEST = {"humaneval": 1024, "mbpp": 256}


def _function(
    *, samples: int, temperature: float, top_p: float = TOP_P, longest: int = LONGEST
) -> Callable[[Row, Sequence[Row], str], Example]:
    """HumanEval: the beginning of a function is the prompt."""

    def make(row: Row, shots: Sequence[Row], id: str) -> Example:
        ask = Write(
            prompt=row["prompt"], max_tokens=longest, stop=_FUNCTION_ENDS, n=samples, temperature=temperature,
            top_p=top_p, seed=zlib.crc32(row["task_id"].encode()),
        )  # fmt: skip
        after = f"\n{row['test']}\ncheck({row['entry_point']})"
        return Example(id=row["task_id"], ask=ask, facts={"before": row["prompt"], "after": after})

    return make


def _described(
    *, samples: int, temperature: float, top_p: float = TOP_P, longest: int = LONGEST, as_it_is: bool = False
) -> Callable[[Row, Sequence[Row], str], Example]:
    """MBPP: a description with tests, after solved ones.

    Args:
        samples: Of each row.
        temperature: Of sampling.
        top_p: Of sampling.
        longest: Tokens of a sample at most.
        as_it_is: As lm-evaluation-harness has it: with the carriage returns of the data, without the lines that a
            task needs before its tests.
    """

    def make(row: Row, shots: Sequence[Row], id: str) -> Example:
        codes = [shot["code"] if as_it_is else shot["code"].replace("\r\n", "\n") for shot in shots]
        solved = "".join(f"{_task(shot)}{code}\n[DONE]\n\n" for shot, code in zip(shots, codes, strict=True))
        ask = Write(
            prompt=solved + _task(row), max_tokens=longest, stop=("[DONE]",), n=samples, temperature=temperature,
            top_p=top_p, seed=zlib.crc32(str(row["task_id"]).encode()),
        )  # fmt: skip
        setup = [] if as_it_is else [row["test_setup_code"]]
        after = "\n" + "\n".join([*setup, *row["test_list"]])
        return Example(id=str(row["task_id"]), ask=ask, facts={"before": "", "after": after})

    return make


def _task(row: Row) -> str:
    tests = "\n".join(row["test_list"])
    return (
        f"You are an expert Python programmer, and here is your task: {row['text']} Your code should pass these tests:"
        f"\n\n{tests}\n[BEGIN]\n"
    )


def _second_to_fourth(rows: Sequence[Row], documents: Sequence[Row], shots: int) -> Iterator[Sequence[Row]]:
    """The examples of Austin et al.: tasks 2, 3 and 4; the first is left out."""
    for _ in documents:
        yield rows[1 : 1 + shots]


def run_samples(example: Example, answer: Answer) -> list[str]:
    """The error of each sample's program, empty where it passed its tests; equal programs are run once.

    Raises:
        EvaluateError: Nobody allowed programs to be run, or the sandbox fails.
    """
    isolation = permitted_isolation()
    facts = example.facts
    programs = [facts["before"] + written.text + facts["after"] for written in answer.written]
    different = list(dict.fromkeys(programs))
    # As many at once as this process may use processors, not as the machine has: each has memory and time on the clock.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        outcomes = threads.map(lambda program: run_program(program, isolation=isolation), different)
        errors = dict(zip(different, (outcome.error for outcome in outcomes), strict=True))
    return [errors[program] for program in programs]


def _judged(*ks: int) -> Callable[[Example, Answer], Verdict]:
    def judge(example: Example, answer: Answer) -> Verdict:
        errors = run_samples(example, answer)
        samples, right = len(errors), errors.count("")
        values = {f"pass@{k}": pass_at(k, samples=samples, right=right) for k in ks}
        return values, {"passed": [not error for error in errors], "errors": errors}

    return judge


def _code(
    name: str, title: str, make: Callable[..., Callable[[Row, Sequence[Row], str], Example]], *,
    samples: int, temperature: float, ks: Sequence[int], protocol: Protocol = LLAMA, **settings: object,
) -> Task:  # fmt: skip
    """A task of one data set; with fewer samples than k, k is their number."""
    data = name.partition("_")[0]
    fitting = tuple(dict.fromkeys(min(k, samples) for k in ks))

    def sampled(number: int) -> Task:
        return _code(name, title, make, samples=number, temperature=temperature, ks=ks, protocol=protocol, **settings)

    task = Task(
        name=name, protocol=protocol, title=title, data=data, split="test",
        example=make(samples=samples, temperature=temperature, **settings), judge=_judged(*fitting),
        metrics={f"pass@{k}": mean for k in fitting}, chance=0.0, samples=samples,
        sampled=sampled if temperature else None, needs_code=True,
    )  # fmt: skip
    return replace(task, shots=3, shot_split="prompt", draws=_second_to_fourth) if data == "mbpp" else task


TASKS = (
    _code("humaneval", "HumanEval @1", _function, samples=FEW, temperature=0.1, ks=(1,)),
    _code("humaneval_100", "HumanEval @100", _function, samples=HUMANEVAL_SAMPLES, temperature=0.8, ks=(100,)),
    _code("mbpp", "MBPP @1", _described, samples=FEW, temperature=0.1, ks=(1,)),
    _code("mbpp_80", "MBPP @80", _described, samples=MBPP_SAMPLES, temperature=0.8, ks=(80,)),
    _code(
        "humaneval", "HumanEval", _function, samples=1, temperature=0.0, ks=(1,), protocol=HARNESS, top_p=1.0,
        longest=_HARNESS_LONGEST["humaneval"],
    ),
    _code(
        "humaneval_64", "HumanEval, 64 samples", _function, samples=64, temperature=0.2, ks=(2, 8, 16, 32, 64),
        protocol=HARNESS, longest=_HARNESS_LONGEST["humaneval"],
    ),
    _code(
        "mbpp", "MBPP", _described, samples=1, temperature=0.0, ks=(1,), protocol=HARNESS, top_p=1.0,
        longest=_HARNESS_LONGEST["mbpp"], as_it_is=True,
    ),
)  # fmt: skip
