"""Multiple choice of common sense: BoolQ, PIQA, SIQA, HellaSwag, WinoGrande, ARC, OpenBookQA.

`llama` is table 3 of Touvron et al. (2023): without solved examples; options by likelihood per character, those of
BoolQ and OpenBookQA by likelihood over that after "Answer:". The paper names neither prompts nor splits. Prompts are
those of Brown et al. (2020), appendix G, whom it follows, and for SIQA, which they do not have, a question and an
answer as in their ARC. Splits are the test sets that have public labels (ARC, OpenBookQA), else the validation sets.
WinoGrande compares how likely the rest of the sentence is after either name (Trinh and Le, 2018).

`harness` is lm-evaluation-harness: other prompts, `acc` by likelihood and, where it reports it, `acc_norm` by
likelihood per character.
"""

import re
from collections.abc import Callable, Sequence

from puna.evaluate.choices import Choices, asks
from puna.evaluate.draws import harness_draws
from puna.evaluate.example import Answer, Example, Row
from puna.evaluate.figure import mean
from puna.evaluate.judging import choose_by
from puna.evaluate.protocols import HARNESS, LLAMA
from puna.evaluate.task import Task, Verdict

_NO_YES = ("no", "yes")
_SUM: Callable[[Example, Answer], Verdict] = choose_by(acc="sum")
_BOTH: Callable[[Example, Answer], Verdict] = choose_by(acc="sum", acc_norm="character")


def hellaswag(row: Row) -> Choices:
    """Topic, scene, and four ways in which it goes on."""
    context = _cleaned(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}")
    endings = tuple(_cleaned(ending) for ending in row["endings"])
    return Choices(context=context, texts=endings, gold=(int(row["label"]),), category=row["activity_label"])


def _cleaned(text: str) -> str:
    """Marks of the WikiHow part ([title], [step]) out, and the doubled spaces that they leave."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def winogrande(row: Row) -> Choices:
    """The sentence up to the blank with either name in it, and what comes after the blank."""
    place = row["sentence"].index("_")
    start, end = row["sentence"][:place], row["sentence"][place + 1 :].strip()
    return Choices(
        context=(start + row["option1"], start + row["option2"]), texts=(end, end), gold=(int(row["answer"]) - 1,)
    )


def _boolq(question: str, answer: str) -> Callable[[Row], Choices]:
    def choices(row: Row) -> Choices:
        context = f"{row['passage']}\n{question}: {row['question']}?\n{answer}:"
        return Choices(context=context, texts=_NO_YES, gold=(row["label"],))

    return choices


def _piqa(template: str) -> Callable[[Row], Choices]:
    def choices(row: Row) -> Choices:
        return Choices(context=template.format(row["goal"]), texts=(row["sol1"], row["sol2"]), gold=(row["label"],))

    return choices


def _social_iqa(question: str, answer: str) -> Callable[[Row], Choices]:
    def choices(row: Row) -> Choices:
        context = f"{question}: {row['context']} {row['question']}\n{answer}:"
        texts = (row["answerA"], row["answerB"], row["answerC"])
        return Choices(context=context, texts=texts, gold=(int(row["label"]) - 1,))

    return choices


def lettered(name: str, template: str = "Question: {}\nAnswer:") -> Callable[[Row], Choices]:
    """Questions whose options have letters in the data, as in ARC and OpenBookQA; the prompt has no letters."""

    def choices(row: Row) -> Choices:
        options = row["choices"]
        gold = options["label"].index(row["answerKey"].lstrip())
        return Choices(context=template.format(row[name]), texts=tuple(options["text"]), gold=(gold,))

    return choices


def _harness(
    name: str, title: str, choices: Callable[[Row], Choices], *, split: str = "validation", norm: bool, chance: float
) -> Task:
    """A task of lm-evaluation-harness; its solved examples are drawn from the training split."""
    metrics = {"acc_norm": mean, "acc": mean} if norm else {"acc": mean}
    # Where a task file has no test split, one example more is drawn than is shown.
    return Task(
        name=name, protocol=HARNESS, title=title, data=name, split=split, example=asks(choices),
        judge=_BOTH if norm else _SUM, metrics=metrics, chance=chance, shot_split="train",
        draws=harness_draws(spare=split == "validation"),
    )  # fmt: skip


def _llama(
    name: str,
    title: str,
    choices: Callable[[Row], Choices],
    *,
    split: str = "validation",
    own: bool = False,
    chance: float,
) -> Task:
    return Task(
        name=name, protocol=LLAMA, title=title, data=name, split=split,
        example=asks(choices, own="Answer:" if own else ""), judge=choose_by(acc="own" if own else "character"),
        chance=chance, shot_split="train", pick="draw",
    )  # fmt: skip


_ARC = lettered("question")
_BARE = lettered("question_stem", "{}")

TASKS: Sequence[Task] = (
    _llama("boolq", "BoolQ", _boolq("question", "answer"), own=True, chance=1 / 2),
    _llama("piqa", "PIQA", _piqa("{}"), chance=1 / 2),
    _llama("social_iqa", "SIQA", _social_iqa("Question", "Answer"), chance=1 / 3),
    _llama("hellaswag", "HellaSwag", hellaswag, chance=1 / 4),
    _llama("winogrande", "WinoGrande", winogrande, chance=1 / 2),
    _llama("arc_easy", "ARC-e", _ARC, split="test", chance=1 / 4),
    _llama("arc_challenge", "ARC-c", _ARC, split="test", chance=1 / 4),
    _llama("openbookqa", "OBQA", _BARE, split="test", own=True, chance=1 / 4),
    _harness("boolq", "BoolQ", _boolq("Question", "Answer"), norm=False, chance=1 / 2),
    _harness("piqa", "PIQA", _piqa("Question: {}\nAnswer:"), norm=True, chance=1 / 2),
    _harness("social_iqa", "SIQA", _social_iqa("Q", "A"), norm=False, chance=1 / 3),
    _harness("hellaswag", "HellaSwag", hellaswag, norm=True, chance=1 / 4),
    _harness("winogrande", "WinoGrande", winogrande, norm=False, chance=1 / 2),
    _harness("arc_easy", "ARC-e", _ARC, split="test", norm=True, chance=1 / 4),
    _harness("arc_challenge", "ARC-c", _ARC, split="test", norm=True, chance=1 / 4),
    _harness("openbookqa", "OpenBookQA", _BARE, split="test", norm=True, chance=1 / 4),
)  # fmt: skip
