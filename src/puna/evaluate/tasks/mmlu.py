"""MMLU: 57 subjects, four options by letter. Results are split by subject, from which the categories follow.

`llama` is table 9 of Touvron et al. (2023), five-shot with the benchmark's own examples. The paper does not say how it
asks; this is the benchmark's own code (Hendrycks et al., 2021, github.com/hendrycks/test, `evaluate.py`), whose
header has two spaces before the subject. Letters have one character each, so no normalisation matters.

`harness` is lm-evaluation-harness: one space, and questions without spaces at their ends.
"""

from collections.abc import Callable, Sequence

from puna.evaluate.choices import Choices, asks
from puna.evaluate.example import Example, Row
from puna.evaluate.judging import choose_by
from puna.evaluate.protocols import HARNESS, LLAMA
from puna.evaluate.task import Protocol, Task

LETTERS = ("A", "B", "C", "D")


def _by_letter(question: Callable[[str], str]) -> Callable[[Row], Choices]:
    def choices(row: Row) -> Choices:
        options = "".join(f"\n{letter}. {text}" for letter, text in zip(LETTERS, row["choices"], strict=True))
        return Choices(
            context=f"{question(row['question'])}{options}\nAnswer:", texts=LETTERS, gold=(row["answer"],),
            category=row["subject"],
        )  # fmt: skip

    return choices


def _header(spaces: str) -> Callable[[Row], str]:
    def header(row: Row) -> str:
        subject = row["subject"].replace("_", " ")
        return f"The following are multiple choice questions (with answers) about{spaces}{subject}.\n\n"

    return header


def _task(protocol: Protocol, example: Callable[[Row, Sequence[Row], str], Example], shots: int) -> Task:
    return Task(
        name="mmlu", protocol=protocol, title="MMLU", data="mmlu", split="test", example=example,
        judge=choose_by(acc="sum"), shots=shots, shot_split="dev", pick="first", group=lambda row: row["subject"],
        chance=1 / 4,
    )  # fmt: skip


TASKS: Sequence[Task] = (
    _task(LLAMA, asks(_by_letter(lambda question: question), header=_header("  ")), 5),
    _task(HARNESS, asks(_by_letter(str.strip), header=_header(" ")), 0),
)
