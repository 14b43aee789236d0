"""What a card says of examples for instruction tuning and not of text: turns, answers, tasks, shares of examples."""

from typing import Any

from puna.core.units import counted, format_bytes
from puna.data.card.blocks import Block, Table, percent
from puna.data.tasks.counts import NOT_TOLD

_ROWS = 20
"""How many tasks of a source a page shows."""


def has_examples(card: dict[str, Any]) -> bool:
    """Whether the build is of examples, which no tokenizer has turned into tokens."""
    return card["tokenizer"] is None


def what_of(card: dict[str, Any]) -> str:
    """What one document of the build is, in a word."""
    return "example" if has_examples(card) else "document"


def turns_of(card: dict[str, Any]) -> tuple[str, str]:
    """The number of turns for the page's head, and what it counts."""
    turns, answers = (sum(source["examples"][key] for source in card["sources"]) for key in ("turns", "answers"))
    return f"{turns:,}", f"turn{'s' * (turns != 1)}, {answers:,} of them answers"


def size_blocks(card: dict[str, Any]) -> list[Block]:
    """How many examples there are, by source and split."""
    sizes = [
        [
            source["name"], "held-out" if split == "heldout" else split, f"{counts['documents']:,}",
            format_bytes(counts["bytes"]),
        ]
        for source in card["sources"]
        for split, counts in source["splits"].items()
    ]  # fmt: skip
    return [
        Table("How much of it there is", ["source", "split", "examples", "text"], 2, sizes),
        "Held-out examples are not learned from: they measure the model. The model that is tuned brings the tokenizer "
        "and the template, so tokens are counted in its run.",
    ]


def mixture_blocks(card: dict[str, Any]) -> list[Block]:
    """The shares of the sources."""
    rows = [
        [
            source["name"], percent(source["share"]), f"{source['splits']['train']['documents']:,}",
            "any" if source["max_epochs"] is None else f"{source['max_epochs']:,g}",
        ]
        for source in card["sources"]
    ]  # fmt: skip
    return [
        Table("Shares of the examples that a run reads", ["source", "share", "examples", "epochs at most"], 1, rows),
        "How often each source is read follows from the length of its run, which the report of the run says.",
    ]


def example_blocks(card: dict[str, Any]) -> list[Block]:
    """Turns and answers by source, and the tasks that rows name."""
    rows = []
    for source in card["sources"]:
        figures = source["examples"]
        examples = max(sum(split["documents"] for split in source["splits"].values()), 1)
        rows.append(
            [
                source["name"], f"{examples:,}", f"{figures['pairs']:,}", f"{figures['turns']:,}",
                f"{figures['answers']:,}", f"{figures['turns'] / examples:.1f}",
            ]
        )  # fmt: skip
    header = ["source", "examples", "pairs of answers", "turns", "answers", "turns per example"]
    tasks = [row for source in card["sources"] for row in _tasks(source)]
    return [
        Table("What the examples are made of", header, 1, rows),
        Table("By task", ["source", "task", "examples", "text"], 2, tasks),
        "Of a pair, the turns of both answers are counted. A task is what a row names as one.",
    ]


def _tasks(source: dict[str, Any]) -> list[list[str]]:
    """The most frequent tasks of a source, all others in one row, and the examples that name none."""
    tasks = source["examples"]["tasks"]
    named = list(tasks["named"].items())
    shown, rest = named[:_ROWS], [counts for _, counts in named[_ROWS:]]
    names = len(rest) + tasks["others"]["names"]
    others = {key: sum(counts[key] for counts in [*rest, tasks["others"]]) for key in ("documents", "bytes")}
    rows = [*shown, (counted(names, "other"), others), (NOT_TOLD, tasks["unknown"])]
    return [
        [source["name"], name, f"{counts['documents']:,}", format_bytes(counts["bytes"])]
        for name, counts in rows
        if counts["documents"]
    ]
