"""The rows that bench/tuned_model.py tunes on, and those that it asks about: public data sets in one form of row.

Learned are the validation sets of SST-2, ARC and OpenBookQA and the training set of GSM8K; asked are other rows of
SST-2, which has no more labelled ones here, and the test sets of the others. So no row is in both by its origin, and
what overlaps by its words the data build drops (`decontaminate` in tuned_model.toml).
"""

import json
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from puna.benchmarks.files import open_split

Row = dict[str, Any]

SEED = 0
LEARNED = {"sentiment": 572, "choice": 400, "sums": 60}
"""Rows of each task to learn from; few, so that a CPU is done in minutes."""


def rows_of(name: str, split: str, data_dir: Path | None) -> list[Row]:
    """All rows of a split of a benchmark, its hash checked."""
    return list(open_split(name, split, data_dir=data_dir).rows)


def sentiment(row: Row) -> Row:
    """A sentence of SST-2 with its mood."""
    options = ["negative", "positive"]
    return {"task": "sentiment", "text": row["sentence"].strip(), "options": options, "answer": options[row["label"]]}


def choice(row: Row) -> Row:
    """A question of ARC or OpenBookQA with the texts of its options."""
    labels, texts = row["choices"]["label"], row["choices"]["text"]
    question = row.get("question") or row["question_stem"]
    return {"task": "choice", "question": question, "options": texts, "answer": texts[labels.index(row["answerKey"])]}


def sums(row: Row) -> Row:
    """A sum of GSM8K with its solution, without the marks for a calculator; the result stands after ####."""
    return {"task": "sums", "question": row["question"], "answer": re.sub(r"<<.*?>>", "", row["answer"])}


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_all(where: Path, data_dir: Path | None) -> dict[str, list[Row]]:
    """Write `learn/TASK.jsonl` and `asked/NAME.jsonl`; the rows to ask about, by the file's name.

    Args:
        where: A directory.
        data_dir: Where the benchmarks' files are; None leaves it to the store and the installed packages.
    """
    draw = random.Random(SEED)

    def shuffled(rows: list[Row]) -> list[Row]:
        return draw.sample(rows, len(rows))

    reviews = shuffled([sentiment(row) for row in rows_of("sst2", "validation", data_dir)])
    tests = {
        name: shuffled([choice(row) for row in rows_of(name, "test", data_dir)])
        for name in ("arc_easy", "arc_challenge", "openbookqa")
    }
    questions = [choice(row) for name in tests for row in rows_of(name, "validation", data_dir)]
    learned = {
        "sentiment": reviews,
        "choice": shuffled(questions),
        "sums": shuffled([sums(row) for row in rows_of("gsm8k", "train", data_dir)]),
    }
    for name, rows in learned.items():
        write_rows(where / "learn" / f"{name}.jsonl", rows[: LEARNED[name]])
    problems = shuffled([sums(row) for row in rows_of("gsm8k", "test", data_dir)])
    asked = {"sentiment": reviews[LEARNED["sentiment"] :], **tests, "sums": problems}
    for name, rows in asked.items():
        write_rows(where / "asked" / f"{name}.jsonl", rows)
    return asked
