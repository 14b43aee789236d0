"""RACE: reading comprehension of middle and high schools.

`llama` follows Brown et al. (2020), whose set-up Touvron et al. (2023) take over: figures G.1 and G.3 show an article,
its earlier questions with their right answers, then the question; options are compared by their likelihood over that
after "A:" (section 2.4). Every question of the test split is asked. `acc_character` compares by likelihood per
character instead, the LLaMA paper's general rule.

`harness` is lm-evaluation-harness's `race`: of each article of RACE-high the last question alone, after the earlier
ones.

The authors allow non-commercial research only, so the data are not packaged anywhere.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from puna.evaluate.example import Choose, Example, Option, Row
from puna.evaluate.figure import mean
from puna.evaluate.judging import choose_by
from puna.evaluate.protocols import HARNESS, LLAMA
from puna.evaluate.task import Task

_LETTERS = "ABCD"
_BLANK = "  _  ."


def _with_earlier(rows: Iterable[Row]) -> Iterator[Row]:
    """Each question with those of the same article before it."""
    for _, article in groupby(rows, key=lambda row: row["example_id"]):
        questions = list(article)
        for place, row in enumerate(questions):
            yield {**row, "earlier": questions[:place]}


def _last_ones(rows: Iterable[Row]) -> Iterator[Row]:
    """The last question of each article."""
    for _, questions in groupby(_with_earlier(rows), key=lambda row: row["example_id"]):
        *_, last = questions
        yield last


def _right(row: Row) -> str:
    return row["options"][_LETTERS.index(row["answer"])]


def _llama(row: Row, shots: Sequence[Row], id: str) -> Example:
    answered = "".join(f"Q: {question['question']}\n\nA: {_right(question)}\n\n" for question in row["earlier"])
    context = f"Article:\n{row['article']}\n\n{answered}Q: {row['question']}\n\nA:"
    return _example(row, context, id, own="A:")


def _harness(row: Row, shots: Sequence[Row], id: str) -> Example:
    context = f"Article: {row['article']}\n\n"
    for question in row["earlier"]:
        text = question["question"]
        if text.endswith(_BLANK):
            context += f"{text[:-5]}{_right(question)}\n"
        else:
            context += f"Question: {text}\nAnswer: {_right(question)}\n"
    return _example(row, context + row["question"], id)


def _example(row: Row, context: str, id: str, own: str = "") -> Example:
    options = tuple(Option(context=context, continuation=" " + text, text=text) for text in row["options"])
    alone = tuple((own, option.continuation) for option in options) if own else ()
    return Example(id=id, ask=Choose(options=options, gold=(_LETTERS.index(row["answer"]),), own=alone))


TASKS = (
    *(
        Task(
            name=f"race_{school}", protocol=LLAMA, title=f"RACE-{school}", data=f"race_{school}", split="test",
            rows=_with_earlier, example=_llama, judge=choose_by(acc="own", acc_character="character"),
            metrics={"acc": mean, "acc_character": mean}, chance=0.25,
            license_note="non-commercial research only",
        )
        for school in ("middle", "high")
    ),
    Task(
        name="race", protocol=HARNESS, title="RACE-high, last questions", data="race_high", split="test",
        rows=_last_ones, example=_harness, judge=choose_by(acc="sum"), chance=0.25,
        license_note="non-commercial research only",
    ),
)  # fmt: skip
