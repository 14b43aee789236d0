"""Packed batches: what the model is given of each example, and that packing changes neither loss nor gradient."""

import numpy as np
import pytest
import torch
from tuning import CONTEXT, recipe_of
from tuning_steps import gradients

from puna.config.recipe import ParallelConfig, Recipe
from puna.finetune.feed import ExampleFeed, padding_of
from puna.finetune.plan import Plan
from puna.finetune.token_files import Examples
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.world import World
from puna.shards.heldout import IGNORE
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.feed import Batch

ALONE = World(0, 1, torch.device("cpu"), None)


@pytest.fixture
def feed(recipe: Recipe, examples: Examples, tokenizer: Tokenizer) -> ExampleFeed:
    return ExampleFeed(Plan(examples, recipe), recipe, tokenizer)


def test_every_example_of_a_pack_is_given_whole_with_its_mask(feed: ExampleFeed, examples: Examples):
    batch, packs = feed.batch(0, 40), feed.plan.packs(0, 40)
    assert max(len(pack) for pack in packs) > 1
    for row, pack in enumerate(packs):
        at = 0
        for number, ((document,), example) in enumerate(zip(examples.read(pack), pack, strict=True)):
            place = slice(at, at + document.positions)
            assert batch.inputs_BT[row, place].tolist() == document.ids[:-1].tolist()
            expected = [int(token) if learned else IGNORE for token, learned in zip(*document, strict=True)]
            assert batch.targets_BT[row, place].tolist() == expected[1:]
            assert batch.positions_BT[row, place].tolist() == list(range(document.positions))
            assert (batch.documents_BT[row, place] == number).all()
            assert (batch.sources_BT[row, place] == (example >= 70)).all()
            at += document.positions
        assert (batch.targets_BT[row, at:] == IGNORE).all()
        assert (batch.documents_BT[row, at:] == len(pack)).all()
        assert (batch.inputs_BT[row, at:] == feed.padding).all()


def test_padding_is_never_a_token_that_ends_a_text(tokenizer: Tokenizer):
    assert padding_of(tokenizer) not in tokenizer.stops
    for stops in [(0,), (0, 1, 2), (1, 0)]:
        tokenizer.stops, before = stops, tokenizer.stops
        assert padding_of(tokenizer) not in stops
        tokenizer.stops = before


@pytest.mark.parametrize(("passes", "readers"), [(1, 1), (4, 1), (1, 2), (2, 2), (1, 4)])
def test_all_readers_together_read_each_pack_of_a_batch_once(feed: ExampleFeed, passes: int, readers: int):
    numbers, rows = [0, 9, 2], {}
    for reader in range(readers):
        with feed.read(numbers, passes=passes, reader=reader, readers=readers) as read:
            for index, batch in enumerate(read):
                rows[index // passes, index % passes, reader] = batch
    for place, number in enumerate(numbers):
        parts = [rows[place, index, reader] for index in range(passes) for reader in range(readers)]
        whole = feed.batch(number * 4, 4)
        for field in ("inputs_BT", "targets_BT", "documents_BT", "positions_BT", "sources_BT"):
            assert np.array_equal(np.concatenate([getattr(part, field) for part in parts]), getattr(whole, field))
        assert sum(part.counted_S.sum() for part in parts) == feed.targets(number) == (whole.targets_BT != IGNORE).sum()


def test_examples_and_tokens_are_counted_by_source(feed: ExampleFeed):
    sources = np.concatenate([feed.batch(4 * number, 4).sources_BT.flatten() for number in range(5)])
    assert feed.tokens(5) == {"talks": int((sources == 0).sum()), "tasks": int((sources == 1).sum())}
    assert sum(feed.sequences(5).values()) == sum(len(pack) for pack in feed.plan.packs(0, 20))
    assert feed.in_epoch == {"talks": 70, "tasks": 50}


def test_equal_examples_and_settings_have_equal_fingerprints(
    feed: ExampleFeed, recipe: Recipe, examples: Examples, tokenizer: Tokenizer
):
    assert ExampleFeed(Plan(examples, recipe), recipe, tokenizer).fingerprint == feed.fingerprint
    for change in ({"seed": 6}, {"mixture": {"talks": 1.0, "tasks": 1.0}}):
        other = recipe.model_copy(update=change)
        assert ExampleFeed(Plan(examples, other), other, tokenizer).fingerprint != feed.fingerprint


def one_by_one(recipe: Recipe, examples: Examples, numbers: list[int]) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of these examples, each read by itself, from the logits of the whole model."""
    model = build_model(recipe, build_mesh(ParallelConfig(), ALONE), ALONE.device)
    targets, nats = sum(int(examples.targets[number]) for number in numbers), 0.0
    for ((document,),) in [examples.read([number]) for number in numbers]:
        logits_TV = model(torch.tensor(document.ids[None, :-1]))[0]
        learned = torch.tensor(document.learned[1:])
        loss = torch.nn.functional.cross_entropy(
            logits_TV[learned], torch.tensor(document.ids[1:])[learned], reduction="sum"
        )
        (loss / targets).backward()
        nats += loss.item()
    grads = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return nats / targets, grads


@pytest.mark.parametrize("passes", [1, 2, 4])
def test_packed_loss_and_gradient_are_those_of_the_examples_one_by_one(
    feed: ExampleFeed, recipe: Recipe, examples: Examples, passes: int
):
    numbers = [int(number) for pack in feed.plan.packs(0, 4) for number in pack]
    loss, grads = one_by_one(recipe, examples, numbers)
    micro = recipe.train.model_copy(update={"micro_batch_tokens": 4 * CONTEXT // passes})
    packed = gradients(recipe.model_copy(update={"train": micro}), ALONE, feed)
    assert packed["loss"].item() == pytest.approx(loss, rel=1e-5)
    for name, grad in grads.items():
        torch.testing.assert_close(packed[f"grad.{name}"], grad, rtol=1e-5, atol=1e-6)


def test_any_packing_gives_the_same_gradient(recipe: Recipe, examples: Examples, tokenizer: Tokenizer):
    """The same examples alone in their sequences, with padding behind each."""
    feed = ExampleFeed(Plan(examples, recipe), recipe, tokenizer)
    numbers = np.concatenate(feed.plan.packs(0, 4))
    apart = recipe_of({"talks": 70.0, "tasks": 50.0}, rows=len(numbers), pack=False)

    class Apart(ExampleFeed):
        def batch(self, first: int, count: int) -> Batch:
            from puna.finetune.feed import batch_of

            packs = [np.array([number]) for number in numbers[first : first + count]]
            return batch_of(examples, packs, context=CONTEXT, padding=self.padding)

        def targets(self, number: int) -> int:
            return feed.targets(0)

    one, other = gradients(recipe, ALONE, feed), gradients(apart, ALONE, Apart(Plan(examples, apart), apart, tokenizer))
    for name, grad in one.items():
        torch.testing.assert_close(other[name], grad, rtol=1e-5, atol=1e-6)
