"""Loss on held-out answers against a sum over the examples one by one, before, during and after a run."""

import math
from pathlib import Path

import pytest
import torch
from tuning import recipe_of

from puna.config.recipe import Recipe
from puna.core.schema.lines import Line, ValidationLine
from puna.finetune.feed import ExampleFeed
from puna.finetune.heldout import Heldout
from puna.finetune.plan import Plan, derived
from puna.finetune.token_files import Examples
from puna.parallel.world import World
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.loop import run
from puna.train.session import Listener, Session

ALONE = World(0, 1, torch.device("cpu"), None)


class Lines(Listener):
    """Keeps the validations."""

    def __init__(self) -> None:
        self.seen: list[ValidationLine] = []

    def recorded(self, session: Session, line: Line) -> None:
        if isinstance(line, ValidationLine):
            self.seen.append(line)


@torch.no_grad()
def one_by_one(session: Session, heldout: Examples, tokenizer: Tokenizer, source: int) -> tuple[float, float]:
    """Nats per target and bits per byte of a source's answers, each example read by itself."""
    texts, nats, targets, n_bytes = tokenizer.token_bytes(), 0.0, 0, 0
    for number in range(heldout.firsts[source], heldout.firsts[source + 1]):
        ((document,),) = heldout.read([number])
        log_probabilities = torch.log_softmax(session.model(torch.tensor(document.ids[None, :-1]))[0].double(), -1)
        for position, (token, learned) in enumerate(zip(document.ids[1:], document.learned[1:], strict=True)):
            if learned:
                nats -= log_probabilities[position, token].item()
                targets += 1
                n_bytes += len(texts[token])
    return nats / targets, nats / math.log(2) / n_bytes


@pytest.fixture
def heldout(recipe: Recipe, written: Path) -> Examples:
    return Examples.open(written, "heldout", list(recipe.mixture))


def session_of(recipe: Recipe, examples: Examples, tokenizer: Tokenizer, *listeners: Listener) -> Session:
    plan = Plan(examples, recipe)
    recipe = derived(recipe, plan)
    return Session.open(recipe, ALONE, ExampleFeed(plan, recipe, tokenizer), listeners=list(listeners))


def test_loss_and_bits_are_their_definition_before_and_after_a_run(
    recipe: Recipe, examples: Examples, heldout: Examples, tokenizer: Tokenizer
):
    lines, listener = Lines(), Heldout(heldout, tokenizer, recipe)
    with session_of(recipe, examples, tokenizer, listener, lines) as session:
        before = [one_by_one(session, heldout, tokenizer, source) for source in (0, 1)]
        assert run(session)
        after = [one_by_one(session, heldout, tokenizer, source) for source in (0, 1)]
    first, last = lines.seen
    for line, expected in ((first, before), (last, after)):
        assert list(line.loss.values()) == pytest.approx([loss for loss, _ in expected], rel=1e-5)
        assert list(line.bits_per_byte.values()) == pytest.approx([bits for _, bits in expected], rel=1e-5)
    assert (first.step, first.final, last.final) == (0, False, True)
    assert listener.final.loss == last.loss
    assert last.loss["talks"] < 0.8 * first.loss["talks"]


def test_a_limit_reads_about_as_many_tokens_from_all_over(
    recipe: Recipe, examples: Examples, heldout: Examples, tokenizer: Tokenizer
):
    limit = int(heldout.lengths[:9].sum()) // 2
    config = recipe.validation.model_copy(update={"every_steps": 1, "tokens": limit})
    short = recipe.model_copy(update={"validation": config})
    listener = Heldout(heldout, tokenizer, short)
    chosen = [int(number) for pack in listener.packs("talks", limit) for number in pack]
    assert sorted(chosen) == [0, 2, 4, 6][: len(chosen)]
    assert len(chosen) == 4
    lines = Lines()
    with session_of(short, examples, tokenizer, listener, lines) as session:
        run(session, until=2)
    assert [line.step for line in lines.seen] == [0, 1, 2]


def test_batches_and_packing_change_nothing(
    recipe: Recipe, examples: Examples, heldout: Examples, tokenizer: Tokenizer
):
    found = []
    for changed in (
        recipe,
        recipe_of({"talks": 70.0, "tasks": 50.0}, pack=False),
        recipe_of({"talks": 70.0, "tasks": 50.0}, rows=8),
    ):
        train = changed.train.model_copy(update={"micro_batch_tokens": changed.train.batch_tokens})
        changed = changed.model_copy(update={"train": train})
        with session_of(changed, examples, tokenizer) as session:
            found.append(Heldout(heldout, tokenizer, changed).measure(session).loss)
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)


def test_a_source_without_held_out_examples_is_left_out(
    recipe: Recipe, examples: Examples, written: Path, tokenizer: Tokenizer
):
    only = Examples.open(written, "heldout", list(recipe.mixture))
    only.firsts[1:] = only.firsts[1]  # nothing of the second source
    with session_of(recipe, examples, tokenizer) as session:
        assert list(Heldout(only, tokenizer, recipe).measure(session).loss) == ["talks"]
    none = Examples(written, [], list(recipe.mixture), 1)
    lines = Lines()
    with session_of(recipe, examples, tokenizer, Heldout(none, tokenizer, recipe), lines) as session:
        run(session, until=1)
    assert lines.seen == []
