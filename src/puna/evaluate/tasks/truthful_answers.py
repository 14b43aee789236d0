"""TruthfulQA (Lin et al., 2022) as Touvron et al. (2023) have it in Table 14: the model answers in its own words.

The prompt is the QA prompt of Ouyang et al. (2022), the benchmark's own. The paper does not say how long answers
are: here up to 50 tokens, greedy, as in the benchmark's code, up to an empty line or the next question.

The paper's judges were two models finetuned for it behind an API that is gone. What judges is chosen with `--scorer`;
without a judge the answers are written, and the figures are missing. Nothing here stands in for the judges.
"""

from collections.abc import Sequence

from puna.evaluate.example import Answer, Example, Row, Write
from puna.evaluate.figure import mean
from puna.evaluate.protocols import LLAMA
from puna.evaluate.scorer import TRUTH
from puna.evaluate.task import Task, Verdict
from puna.evaluate.tasks.truthful_qa import SOLVED

TOKENS = 50


def _question(row: Row, shots: Sequence[Row], id: str) -> Example:
    solved = "\n\n".join(f"Q: {question}\nA: {answer}" for question, answer in SOLVED)
    facts = {
        "question": row["question"], "best_answer": row["best_answer"], "true": list(row["correct_answers"]),
        "false": list(row["incorrect_answers"]),
    }  # fmt: skip
    ask = Write(prompt=f"{solved}\n\nQ: {row['question']}\nA:", max_tokens=TOKENS, stop=("\n\n", "\nQ:"))
    return Example(id=id, ask=ask, category=row["category"], facts=facts)


def unjudged(example: Example, answer: Answer) -> Verdict:
    """No value yet: the answer waits for a judge."""
    return TRUTH.unknown, {}


TASKS: tuple[Task, ...] = (
    Task(
        name="truthfulqa", protocol=LLAMA, title="TruthfulQA, answers", data="truthful_qa", split="validation",
        example=_question, judge=unjudged, metrics=dict.fromkeys(TRUTH.unknown, mean), scored=TRUTH.name, pick="own",
    ),
)  # fmt: skip
