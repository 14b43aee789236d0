"""What a session learns from: the loader's sequences, whoever reads them and in however many passes."""

import re

import numpy as np
import pytest
import torch

from puna.config.recipe import ParallelConfig, Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.parallel.mesh import build_mesh
from puna.parallel.world import World
from puna.shards.heldout import IGNORE
from puna.shards.loader import Loader
from puna.shards.shards import TokenShards
from puna.train.feed import Batch, TokenFeed, check_epochs, scored_by_source, sums_by_source

ROWS, CONTEXT = 8, 32


@pytest.fixture
def loader(tiny: Recipe, tiny_data: DataDir) -> Loader:
    return Loader({name: TokenShards.open(tiny_data.shards / name / "train") for name in tiny.mixture}, tiny)


@pytest.mark.parametrize(("passes", "readers"), [(1, 1), (4, 1), (1, 2), (2, 2), (8, 1), (1, 8)])
def test_all_readers_together_read_each_sequence_of_a_batch_once(
    tiny: Recipe, loader: Loader, passes: int, readers: int
):
    feed, numbers = TokenFeed(loader, tiny), [0, 7, 3]
    rows: dict[tuple[int, int, int], Batch] = {}
    for reader in range(readers):
        with feed.read(numbers, passes=passes, reader=reader, readers=readers) as read:
            batches = list(read)
        assert len(batches) == len(numbers) * passes
        for index, batch in enumerate(batches):
            rows[index // passes, index % passes, reader] = batch
    for place, number in enumerate(numbers):
        parts = [rows[place, index, reader] for index in range(passes) for reader in range(readers)]
        tokens = loader.batch(number * ROWS, ROWS)
        assert np.array_equal(np.concatenate([part.inputs_BT for part in parts]), tokens[:, :-1])
        assert np.array_equal(np.concatenate([part.targets_BT for part in parts]), tokens[:, 1:])
        assert np.array_equal(np.concatenate([part.sources_B for part in parts]), loader.labels(number * ROWS, ROWS))


def test_every_token_is_a_target_and_sequences_are_counted_by_source(tiny: Recipe, loader: Loader):
    feed = TokenFeed(loader, tiny)
    assert feed.targets(5) == ROWS * CONTEXT
    labels = loader.labels(0, 3 * ROWS)
    assert feed.sequences(3) == {name: int((labels == index).sum()) for index, name in enumerate(feed.names)}


def test_batches_that_read_a_source_too_often_are_refused(tiny: Recipe, loader: Loader):
    feed = TokenFeed(loader, tiny)
    batches = 4 * feed.in_epoch["code"] // ROWS
    epochs = feed.sequences(batches)["code"] / feed.in_epoch["code"]
    limited = tiny.model_copy(update={"max_epochs": {"code": epochs}})
    check_epochs(feed, batches, limited)
    check_epochs(feed, 100 * batches, tiny)
    with pytest.raises(DataError, match=r"source 'code': .* passes over, the run would read it") as caught:
        check_epochs(feed, batches + 4, limited)
    allowed = float(re.search(r"`puna train \S+ --resume max_epochs\.code=(\S+)` allows this", caught.value.hint)[1])
    check_epochs(feed, batches + 4, tiny.model_copy(update={"max_epochs": {"code": allowed}}))


def test_targets_are_counted_by_source_and_ignored_ones_are_not():
    targets = np.array([[5, IGNORE, 7], [IGNORE, IGNORE, IGNORE], [1, 2, 3]])
    batch = Batch(inputs_BT=np.zeros_like(targets), targets_BT=targets, sources_B=np.array([2, 0, 2]))
    assert scored_by_source(batch, 3).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 5]]


def test_losses_of_sequences_that_hold_several_sources_are_added_up_by_the_place_of_each():
    losses = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 0.0]])
    sources = np.array([[0, 0, 1], [1, 1, IGNORE]])
    targets = np.where(losses.numpy() > 0, 5, IGNORE)
    batch = Batch(
        inputs_BT=targets, targets_BT=targets, sources_B=np.zeros(2, np.int64), sources_BT=sources,
        counted_S=np.array([2, 3, 0]),
    )  # fmt: skip
    mesh = build_mesh(ParallelConfig(), World(0, 1, torch.device("cpu"), None))
    assert sums_by_source(batch, losses, 3, mesh).tolist() == [[3, 28, 0], [2, 3, 0]]
    whole = Batch(inputs_BT=targets, targets_BT=targets, sources_B=np.array([1, 0]))
    assert sums_by_source(whole, losses, 3, mesh).tolist() == [[24, 7, 0], [2, 3, 0]]
