"""The rounds as tasks with files: the answer of an obvious search, in as many rounds as are needed and no more."""

import numpy as np
import pytest

from puna.core.errors import DataError
from puna.data.dedup.edges import PAIR
from puna.data.stages import components
from puna.data.stages.components import Components, LargeStar, component_stages
from puna.data.stages.pairs import read_pairs, write_both_ways
from puna.data.tasks.rows import partition_of
from puna.data.tasks.task import Task

Edges = list[tuple[int, int]]


def lowest_by_search(edges: Edges) -> Edges:
    """Each document that is not the lowest of its component, with that one, by walking from every document."""
    neighbours: dict[int, set[int]] = {}
    for one, other in edges:
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    found = []
    for start in neighbours:
        seen, left = {start}, [start]
        while left:
            left += (new := neighbours[left.pop()] - seen)
            seen |= new
        if min(seen) < start:
            found.append((start, min(seen)))
    return sorted(found)


@pytest.fixture
def stages(wrote):
    """The stages that join some edges, of which each of several tasks has found a part; not yet run."""

    def make(edges: Edges, partitions: int) -> tuple[list[list[Task]], list[Components]]:
        rows = np.array([(max(edge), min(edge)) for edge in edges], dtype=PAIR)
        parts = np.array_split(rows, partitions)
        found = [
            wrote(f"edges-{number}-{len(edges)}", lambda task, part=part: write_both_ways(task, part, partitions))
            for number, part in enumerate(parts)
        ]
        return component_stages(found, "near_duplicate")

    return make


def run(rounds: list[list[Task]], found: list[Components]) -> Edges:
    for stage in [*rounds, [*found]]:
        for task in stage:
            task.run()
    failures = [failure for task in found if (failure := task.failure())]
    if failures:
        raise failures[0]
    return sorted(pair for task in found for pair in read_pairs(task).tolist())


def rounds_done(rounds: list[list[Task]]) -> int:
    return sum(all(task.is_done for task in stage) for stage in rounds[::2])


@pytest.mark.parametrize("partitions", [1, 2, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_tasks_find_what_a_search_from_every_document_finds(stages, partitions: int, seed: int):
    drawn = np.random.default_rng(seed).integers(0, 120, (100, 2))
    edges = [(one, other) for one, other in drawn.tolist() if one != other]
    rounds, found = stages(edges, partitions)
    assert run(rounds, found) == lowest_by_search(edges)
    assert len(lowest_by_search(edges)) > 50
    for task in found:
        assert set(partition_of(read_pairs(task)["number"].copy(), partitions)) <= {task.partition}
        assert task.reason == "near_duplicate"


@pytest.mark.parametrize(
    ("edges", "needed"),
    [
        ([], 1),
        ([(0, leaf) for leaf in range(1, 40)], 1),
        ([(99, leaf) for leaf in range(40)], 2),
        # log2(64) rounds join a chain, and one more sees that nothing is left.
        ([(one, one + 1) for one in range(64)], 7),
    ],
)
def test_rounds_end_when_nothing_is_left_to_join_and_the_rest_writes_nothing(stages, edges: Edges, needed: int):
    rounds, found = stages(edges, 3)
    assert run(rounds, found) == lowest_by_search(edges)
    assert rounds_done(rounds) == needed
    large, small = rounds[2 * needed], rounds[2 * needed - 1]
    assert not any(task.is_needed or task.directory.exists() for task in [*small, *large])


def test_one_partition_that_is_not_settled_keeps_all_at_work(stages):
    """Two chains: the short one is settled after a round, in its partitions; the long one decides."""
    edges = [(one, one + 1) for one in range(40)] + [(1000, 1001)]
    rounds, found = stages(edges, 8)
    assert run(rounds, found) == lowest_by_search(edges)
    settled = [[task.is_settled for task in stage if isinstance(task, LargeStar) and task.is_done] for stage in rounds]
    assert any(any(stage) and not all(stage) for stage in settled)
    assert [True] * 8 in settled


def test_a_chain_that_needs_more_rounds_than_there_are_is_refused(stages, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(components, "ROUNDS", 3)
    rounds, found = stages([(one, one + 1) for one in range(60)], 2)
    assert len(rounds) == 6
    with pytest.raises(DataError, match="after 3 rounds there are still chains") as caught:
        run(rounds, found)
    assert "dedup.near.rows" in caught.value.hint
    assert not any(task.is_done for task in found)


def test_every_task_has_a_directory_of_its_own_that_the_edges_decide(stages):
    rounds, found = stages([(1, 2)], 2)
    tasks = [task for stage in [*rounds, [*found]] for task in stage]
    assert len({task.directory for task in tasks}) == len(tasks) == 2 * 2 * components.ROUNDS + 2
    others, other_found = stages([(1, 2), (2, 3)], 2)
    theirs = {task.directory for stage in [*others, [*other_found]] for task in stage}
    assert not theirs & {task.directory for task in tasks}
    assert {task.input_bytes for task in tasks} == {1000}
