"""Counts of examples by source and split are the sums of the parts' own; a part of the parameters may learn."""

from pathlib import Path

from puna.config.recipe import Recipe
from puna.core.schema.tuning import CutExamples
from puna.finetune.describe import example_counts
from puna.finetune.token_files import Examples, Manifest, Part, read_manifest


def _part(name: str, source: str, split: str, read: int, **values: object) -> Part:
    fields = {"examples": 0, "documents": 0, "tokens": 0, "targets": 0, "tasks": [], "dropped": {}, "cut": {}}
    return Part(
        **{"name": name, "source": source, "split": split, "read": read, "refused": "", "files": {}} | fields | values
    )  # type: ignore[arg-type]


def test_counts_are_those_of_the_files(written: Path, recipe: Recipe, examples: Examples):
    counts = example_counts(read_manifest(written), list(recipe.mixture))
    assert [(one.source, one.split, one.read) for one in counts] == [
        ("talks", "train", 70), ("talks", "heldout", 9), ("tasks", "train", 50), ("tasks", "heldout", 8),
    ]  # fmt: skip
    train = [one for one in counts if one.split == "train"]
    assert sum(one.targets for one in train) == int(examples.targets.sum())
    assert sum(one.tokens for one in train) == int(examples.lengths.sum()) + examples.total


def test_reasons_and_cuts_of_all_parts_are_added_and_sources_without_examples_left_out():
    parts = [
        _part("train-00000", "a", "train", 5, examples=3, dropped={"too_long": 2}),
        _part("train-00001", "a", "train", 4, examples=3, dropped={"too_long": 1},
              cut={"examples": 1, "tokens": 9, "targets": 0}),
    ]  # fmt: skip
    (counts,) = example_counts(Manifest(1, {}, parts), ["a", "b"])
    assert (counts.read, counts.examples, counts.dropped) == (9, 6, {"too_long": 3})
    assert counts.cut == CutExamples(examples=1, tokens=9)
