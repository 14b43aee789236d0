import json
from dataclasses import replace
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir, RunDir
from puna.core.schema.train_state import TrainState, directory_of, write_state
from puna.search.reads import Reads, reads_of


@pytest.fixture
def run(tiny: Recipe, tiny_run: RunDir, tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "runs" / "tiny")
    run.root.mkdir(parents=True)
    run.config.write_bytes(tiny_run.config.read_bytes())
    return run


def _read_at(reads: Reads) -> dict[tuple[str, int], set[int]]:
    """Which steps read each chunk, by going through all steps."""
    found: dict[tuple[str, int], set[int]] = {}
    for step in range(reads.since, reads.steps):
        first = reads.state.batch_number(step) * reads.rows
        for sequence in range(first, first + reads.rows):
            source, position = reads.loader._locate(sequence)
            found.setdefault((reads.loader.names[source], position), set()).add(step + 1)
    return found


def _check(reads: Reads, tiny: Recipe) -> None:
    expected = _read_at(reads)
    context = tiny.model.context
    for source, chunks in reads.loader.chunks.items():
        for chunk in range(0, chunks, max(1, chunks // 40)):
            for within in (0, context - 1):
                steps = reads.of(source, chunk * context + within)
                assert steps == sorted(expected.get((source, chunk * context), set()))


def test_steps_of_a_token_are_those_whose_batches_have_it(tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir):
    reads = reads_of(tiny_run, tiny_data)
    assert (reads.steps, reads.since) == (tiny.total_steps, 0)
    # A run that went on would read the sources again.
    longer = replace(reads, steps=3000)
    _check(longer, tiny)
    assert max(len(steps) for steps in _read_at(longer).values()) > 1


def test_batches_that_were_passed_over_and_steps_that_are_not_done_have_read_nothing(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, run: RunDir
):
    fingerprint = reads_of(tiny_run, tiny_data).loader.fingerprint
    path = directory_of(run, 12)
    path.mkdir(parents=True)
    state = TrainState(step=12, data_fingerprint=fingerprint, shifts=[(5, 3), (7, 1)])
    write_state(path, state, {"shard-00001.safetensors": "0" * 64})
    reads = reads_of(run, tiny_data)
    assert reads.steps == 12
    expected = _read_at(reads)
    for (source, position), steps in expected.items():
        assert reads.of(source, position) == sorted(steps)
    passed = [batch for batch in range(16) if batch not in [reads.state.batch_number(step) for step in range(12)]]
    assert passed
    for batch in passed:
        source, position = reads.loader._locate(batch * reads.rows)
        assert set(reads.of(reads.loader.names[source], position)) <= expected.get(
            (reads.loader.names[source], position), set()
        )


def test_tokens_behind_the_last_sequence_and_other_sources_are_not_read(tiny_data: DataDir, tiny_run: RunDir):
    reads = reads_of(tiny_run, tiny_data)
    for source, chunks in reads.loader.chunks.items():
        assert reads.of(source, chunks * reads.loader._context) == []
    assert reads.of("another", 0) == []


def test_another_build_than_the_run_was_trained_on_is_refused(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, run: RunDir
):
    path = directory_of(run, 12)
    path.mkdir(parents=True)
    write_state(path, TrainState(step=12, data_fingerprint="other"), {"shard-00001.safetensors": "0" * 64})
    with pytest.raises(DataError, match="holds other token shards than"):
        reads_of(run, tiny_data)


def test_steps_whose_batch_was_left_out_have_learned_nothing(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, run: RunDir
):
    path = directory_of(run, 12)
    path.mkdir(parents=True)
    fingerprint = reads_of(tiny_run, tiny_data).loader.fingerprint
    write_state(path, TrainState(step=12, data_fingerprint=fingerprint), {"shard-00001.safetensors": "0" * 64})
    source, position = (reads := reads_of(run, tiny_data)).loader._locate(3 * reads.rows)
    assert reads.of(reads.loader.names[source], position) == [4]
    run.metrics.write_text('{"kind": "skipped", "step": 4, "tokens": 1024, "reason": "x"}\n')
    assert reads_of(run, tiny_data).of(reads.loader.names[source], position) == []


def test_a_run_that_is_made_longer_has_read_what_its_newest_checkpoint_has(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, run: RunDir
):
    run.record.write_bytes(tiny_run.record.read_bytes())
    assert reads_of(run, tiny_data).steps == tiny.total_steps
    path = directory_of(run, 12)
    path.mkdir(parents=True)
    write_state(path, TrainState(step=12), {"shard-00001.safetensors": "0" * 64})
    assert reads_of(run, tiny_data).steps == 12
    branched = replace(reads_of(run, tiny_data), since=8)
    source, position = branched.loader._locate(3 * branched.rows)
    assert branched.of(branched.loader.names[source], position) == []


def test_a_damaged_record_is_a_sentence(tiny_data: DataDir, tiny_run: RunDir, run: RunDir):
    record = json.loads(tiny_run.record.read_text())
    for results in ({"shifts": None}, {"shifts": "ab"}, {"shifts": [[1]]}, {"lineage": 5}):
        run.record.write_text(json.dumps(record | {"results": record["results"] | results}))
        with pytest.raises(DataError, match=r"record\.json: is damaged"):
            reads_of(run, tiny_data)
