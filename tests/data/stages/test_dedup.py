"""Which stages a recipe's deduplication has, and what each of them reads."""

from typing import Any

import pytest

from puna.data.stages.dedup import duplicate_stages
from puna.data.stages.duplicates import Contained, Exact, Keys, Near, Shared, read_task
from puna.data.stages.read import Read
from puna.data.stages.similar import Checked

TEXTS = {source: {"1.jsonl": [f"text of {source}"]} for source in "abc"}


def stages_of(reads: list[Read]) -> tuple[list[str], list[list], list]:
    stages, found = duplicate_stages(reads[0].work, reads[0].data, reads)
    assert all(stages), "no stage is empty"
    for stage in stages:
        assert len({task.stage for task in stage}) == 1
    return [stage[0].stage for stage in stages], stages, found


ROUNDS = ["large-star", "small-star"] * 32


@pytest.mark.parametrize(
    ("dedup", "names"),
    [
        ({"exact": "none"}, []),
        ({}, ["keys", "exact"]),
        ({"exact": "within"}, ["keys", "exact"]),
        ({"exact": "none", "near": {"sources": ["a"]}}, ["keys", "near", *ROUNDS, "components", "members", "checked"]),
        ({"exact": "none", "contained": {"sources": ["a"]}}, ["keys", "shared", "contained"]),
        (
            {"near": {"sources": ["a", "b"]}, "contained": {"sources": ["b"]}},
            ["keys", "exact", "near", "shared", *ROUNDS, "components", "members", "checked", "contained"],
        ),
    ],
)  # fmt: skip
def test_a_recipe_has_the_stages_that_it_asks_for_in_order(read_texts, dedup: dict[str, Any], names: list[str]):
    found_names, stages, found = stages_of(read_texts(TEXTS, dedup=dedup, partitions=3))
    assert found_names == names
    for stage in stages[1:]:
        assert [task.partition for task in stage] == [0, 1, 2]
    order = [kind for kind in (Exact, Checked, Contained) for _ in range(3) if kind.__name__.lower() in names]
    assert [type(task) for task in found] == order


def test_each_comparison_reads_the_keys_of_its_sources_alone(read_texts):
    dedup = {"near": {"sources": ["a", "b"]}, "contained": {"sources": ["c"]}}
    _, stages, _ = stages_of(read_texts(TEXTS, dedup=dedup))
    tasks = [task for stage in stages for task in stage]

    def sources(kind: type) -> set[tuple[str, ...]]:
        return {tuple(read_task(keys.cleaned).name for keys in task.keys) for task in tasks if type(task) is kind}

    assert sources(Exact) == {("a", "b", "c")}
    assert sources(Near) == {("a", "b")}
    assert sources(Shared) == {("c",)}


def test_documents_that_nothing_compares_have_no_keys(read_texts):
    _, stages, _ = stages_of(read_texts(TEXTS, dedup={"exact": "none", "near": {"sources": ["b"]}}))
    assert [(type(task), read_task(task.cleaned).name) for task in stages[0]] == [(Keys, "b")]


def test_what_equals_or_nearly_equals_another_is_known_before_containment(read_texts):
    dedup = {"near": {"sources": ["a"]}, "contained": {"sources": ["a"]}}
    _, stages, found = stages_of(read_texts(TEXTS, dedup=dedup, partitions=2))
    for task in stages[-1]:
        assert isinstance(task, Contained)
        assert list(task.gone) == found[:4]
        assert [type(one) for one in task.gone] == [Exact, Exact, Checked, Checked]
