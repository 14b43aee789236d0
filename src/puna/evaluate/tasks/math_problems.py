"""MATH: competition problems with a boxed answer.

`llama` follows section 3.4 of Touvron et al. (2023), which refers to Minerva (Lewkowycz et al., 2022) for the voting
and leaves the rest open. What is settled here, as Minerva has it unless it says otherwise:

- Four solved problems of Minerva's appendix D.2, in its layout; texts of at most 512 tokens. A text ends where it hopes
  that it is correct, or begins another problem.
- `math` takes one greedy text. `math_majority` takes k = 256 samples at temperature 0.6 and top-p 0.95; the majority's
  answer is judged. Answers that are equal by the rule below vote together, a text without an answer does not vote, and
  among equals the first wins.
- The answer is what the text calls the final answer or, if it does not, its last box.
- Two answers are equal if they are, brought to Minerva's form, the same text, or expressions with the same value.

`harness` has `minerva_math` and `hendrycks_math` of lm-evaluation-harness; their figure over all is its group's, and
categories are its tasks. In `minerva_math`, expressions are compared as above instead of by SymPy, which reads lists
such as "3,11" only in part and so holds different ones for equal.
"""

import re
import zlib
from collections.abc import Callable, Sequence

from puna.evaluate.answers.boxed import boxed, equal_texts
from puna.evaluate.answers.expressions import equal_expressions
from puna.evaluate.answers.final_answers import final_answer, one_form
from puna.evaluate.answers.voting import majority
from puna.evaluate.example import Answer, Example, Row, Write
from puna.evaluate.figure import mean
from puna.evaluate.protocols import HARNESS, LLAMA
from puna.evaluate.task import Task, Verdict
from puna.evaluate.tasks.solved_examples import MINERVA

VOTES = 256
"""k of the paper's maj1@k for MATH."""
TEMPERATURE, TOP_P, LONGEST = 0.6, 0.95, 512
"""Of the samples that vote, and tokens of a text at most: Lewkowycz et al. (2022)."""
_HARNESS_LONGEST = 256
"""lm-evaluation-harness's `max_gen_toks`."""


def _solved(after: str) -> str:
    return "".join(f"Problem:\n{problem}\n\nSolution:{after}{solution}\n\n" for problem, solution in MINERVA)


def _llama(samples: int, *, votes: bool) -> Callable[[Row, Sequence[Row], str], Example]:
    solved = _solved("\n")

    def make(row: Row, shots: Sequence[Row], id: str) -> Example:
        ask = Write(
            prompt=f"{solved}Problem:\n{row['problem']}\n\nSolution:\n", max_tokens=LONGEST, n=samples,
            stop=("I hope it is correct", "\nProblem:"), temperature=TEMPERATURE if votes else 0.0,
            top_p=TOP_P if votes else 1.0, seed=zlib.crc32(id.encode()),
        )  # fmt: skip
        return Example(id=id, ask=ask, category=row["type"], facts={"answer": _gold(row)})

    return make


def _gold(row: Row) -> str:
    return boxed(row["solution"]) or ""


def answer_of(text: str) -> str | None:
    """The answer of a text in one form, or None."""
    found = final_answer(text) or boxed(text)
    return (one_form(found) or None) if found else None


def _judged_by_llama(metric: str) -> Callable[[Example, Answer], Verdict]:
    def judge(example: Example, answer: Answer) -> Verdict:
        answers = [answer_of(written.text) for written in answer.written]
        chosen = majority(answers, equal_expressions)
        right = chosen is not None and equal_expressions(one_form(example.facts["answer"]), chosen)
        shown = {"answer": chosen, "answers": answers} if len(answers) > 1 else {"answer": chosen}
        return {metric: float(right)}, shown

    return judge


def _majority(samples: int) -> Task:
    metric = f"maj1@{samples}"
    return Task(
        name="math_majority", protocol=LLAMA, title="MATH + maj1@k", data="math", split="test", shots=4, pick="own",
        example=_llama(samples, votes=True), judge=_judged_by_llama(metric), metrics={metric: mean}, chance=0.0,
        samples=samples, sampled=_majority,
    )  # fmt: skip


def _minerva(row: Row, shots: Sequence[Row], id: str) -> Example:
    prompt = f"{_solved(' ')}Problem:\n{row['problem']}\n\nSolution:"
    ask = Write(prompt=prompt, max_tokens=_HARNESS_LONGEST, stop=("Problem:",))
    return Example(id=id, ask=ask, category=row["type"], facts={"answer": _gold(row)})


def _judged_as_minerva(example: Example, answer: Answer) -> Verdict:
    text = answer.written[0].text + "I hope it is correct."
    found = re.search(r"Final Answer: The final answer is(.*?). I hope it is correct.", text)
    said = found[1].strip() if found else "[invalidanswer]"
    right = equal_expressions(one_form(said), one_form(example.facts["answer"]))
    return {"exact_match": float(right)}, {"answer": said if found else None}


def _hendrycks(row: Row, shots: Sequence[Row], id: str) -> Example:
    solved = "".join(f"Problem: {shot['problem']}\nAnswer: {_gold(shot)}\n\n" for shot in shots)
    prompt = f"{solved}Problem: {row['problem']}\nAnswer:"
    ask = Write(prompt=prompt, max_tokens=_HARNESS_LONGEST, stop=("Problem:",))
    return Example(id=id, ask=ask, category=row["type"], facts={"answer": _gold(row)})


def _judged_as_hendrycks(example: Example, answer: Answer) -> Verdict:
    text = answer.written[0].text
    begin, end = text.find("$"), text.rfind("$")
    said = text[begin + 1 : end] if begin != end else text
    return {"exact_match": float(equal_texts(said, example.facts["answer"]))}, {"answer": said}


TASKS = (
    Task(
        name="math", protocol=LLAMA, title="MATH", data="math", split="test", shots=4, pick="own",
        example=_llama(1, votes=False), judge=_judged_by_llama("exact_match"),
        metrics={"exact_match": mean}, chance=0.0,
    ),
    _majority(VOTES),
    Task(
        name="minerva_math", protocol=HARNESS, title="MATH (Minerva)", data="math", split="test", shots=4, pick="own",
        example=_minerva, judge=_judged_as_minerva, metrics={"exact_match": mean}, chance=0.0,
    ),
    Task(
        name="hendrycks_math", protocol=HARNESS, title="MATH (Hendrycks)", data="math", split="test",
        example=_hendrycks, judge=_judged_as_hendrycks, metrics={"exact_match": mean}, chance=0.0, shot_split="train",
    ),
)  # fmt: skip
