"""Multiple choice of common sense: BoolQ, PIQA, SIQA, HellaSwag, WinoGrande, ARC, OpenBookQA."""

import re
from collections.abc import Sequence

from puna.evaluate.example import Choose, Example, Option, Row
from puna.evaluate.figure import mean
from puna.evaluate.judging import choose_by
from puna.evaluate.protocols import HARNESS
from puna.evaluate.task import Task


def _hellaswag(row: Row, shots: Sequence[Row], id: str) -> Example:
    context = _cleaned(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}")
    endings = [_cleaned(ending) for ending in row["endings"]]
    options = tuple(Option(context=context, continuation=" " + text, text=text) for text in endings)
    return Example(id=id, ask=Choose(options=options, gold=(int(row["label"]),)), category=row["activity_label"])


def _cleaned(text: str) -> str:
    """Marks of the WikiHow part ([title], [step]) out, and the doubled spaces that they leave."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


TASKS = (
    Task(
        name="hellaswag", protocol=HARNESS, title="HellaSwag", data="hellaswag", split="validation",
        example=_hellaswag, judge=choose_by(acc="sum", acc_norm="character"),
        metrics={"acc_norm": mean, "acc": mean}, chance=0.25,
    ),
)  # fmt: skip
