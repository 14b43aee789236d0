"""Tasks of LLM-foundry: those of OpenLM's tables, without solved examples, and the others whose files are known.

In all of them options are compared by likelihood per token, that is by perplexity, and the context and what follows are
encoded apart. Solved examples, where a user asks for some, are drawn from the file itself by LLM-foundry's generator;
never the document. Where a file has categories, the score is the mean of the categories' scores, as there; documents of
small categories count for more.

MMLU and HellaSwag have the questions of the sets themselves in the wording that published samples of LLM-foundry's
files show; the files are not packaged anywhere. The questions of Jeopardy come from the same collection as
LLM-foundry's file by way of OLMES: one is missing, and some differ in quotation marks.
"""

from collections.abc import Callable, Iterable, Iterator
from string import ascii_uppercase

from puna.evaluate.averages import mean_of_categories
from puna.evaluate.draws import foundry_draws
from puna.evaluate.example import Answer, Example, Row
from puna.evaluate.figure import mean
from puna.evaluate.forms import (
    Maker,
    all_greedy,
    begins_with_an_answer,
    generation,
    language_modeling,
    multiple_choice,
    schema,
)
from puna.evaluate.judging import choose_by
from puna.evaluate.protocols import FOUNDRY
from puna.evaluate.task import Aggregate, Task, Verdict
from puna.evaluate.tasks.common_sense import hellaswag

ANSWER = "\nAnswer: "
"""The delimiter of questions."""
_PER_TOKEN = choose_by(acc="token")
_TRIVIA_TOKENS = 32


def mmlu_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """MMLU's questions as LLM-foundry's `mmlu.jsonl` words them."""
    for row in rows:
        choices = "\n".join(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, row["choices"], strict=False))
        yield {
            "query": f"Question: {row['question']}\nChoices\n{choices}", "choices": list("ABCD"), "gold": row["answer"],
            "category": row["subject"],
        }  # fmt: skip


def hellaswag_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """HellaSwag's questions as LLM-foundry's `hellaswag.jsonl` words them, which are lm-evaluation-harness's."""
    for row in rows:
        parts = hellaswag(row)
        yield {"query": parts.context, "choices": list(parts.texts), "gold": parts.gold[0]}


def _task(
    name: str,
    title: str,
    data: str,
    example: Maker,
    *,
    judge: Callable[[Example, Answer], Verdict] = _PER_TOKEN,
    split: str = "test",
    chance: float = 0.0,
    average: Aggregate = mean,
    rows: Callable[[Iterable[Row]], Iterator[Row]] | None = None,
    group: Callable[[Row], str] | None = None,
) -> Task:
    return Task(
        name=name, protocol=FOUNDRY, title=title, data=data, split=split, example=example, judge=judge,
        metrics={"acc": average}, shot_split=split, draws=foundry_draws, rows=rows, group=group, chance=chance,
    )  # fmt: skip


def _category(row: Row) -> str:
    return row["category"]


TASKS = (
    _task("arc_challenge", "ARC-challenge", "foundry_arc_challenge", multiple_choice(ANSWER), chance=0.25),
    _task("arc_easy", "ARC-easy", "foundry_arc_easy", multiple_choice(ANSWER), chance=0.25),
    _task("boolq", "BoolQ", "foundry_boolq", multiple_choice(ANSWER), chance=0.5),
    _task("copa", "COPA", "foundry_copa", multiple_choice(), chance=0.5),
    _task(
        "hellaswag", "HellaSwag", "hellaswag", multiple_choice(), split="validation", rows=hellaswag_rows, chance=0.25
    ),
    _task("lambada_openai", "LAMBADA", "foundry_lambada_openai", language_modeling(), judge=all_greedy),
    _task("piqa", "PIQA", "foundry_piqa", multiple_choice(ANSWER), chance=0.5),
    _task("winogrande", "WinoGrande", "foundry_winogrande", schema(), chance=0.5),
    _task(
        "mmlu", "MMLU", "mmlu", multiple_choice(ANSWER), rows=mmlu_rows, group=_category, chance=0.25,
        average=mean_of_categories,
    ),
    _task(
        "jeopardy", "Jeopardy", "jeopardy", language_modeling(ANSWER), judge=all_greedy, group=_category,
        average=mean_of_categories,
    ),
    _task("winograd", "Winograd", "foundry_winograd_wsc", schema(), chance=0.5),
    _task("openbookqa", "OpenBookQA", "foundry_openbook_qa", multiple_choice(), chance=0.25),
    _task(
        "triviaqa", "TriviaQA, 3,000 questions", "foundry_triviaqa_sm_sub", generation(_TRIVIA_TOKENS),
        judge=begins_with_an_answer,
    ),
    _task("winogender_female", "WinoGender, women", "foundry_winogender_mc_female", multiple_choice(), chance=0.5),
    _task("winogender_male", "WinoGender, men", "foundry_winogender_mc_male", multiple_choice(), chance=0.5),
)  # fmt: skip
