"""What of the messages shows, against a step that is played through."""

from typing import Any

import pytest

from puna.config.recipe import Recipe
from puna.plan.hardware import Link
from puna.plan.kernels import Rates, Work, block_again, block_backward, block_forward, ends
from puna.plan.layout import GPU, Share, share_of
from puna.plan.links import Links
from puna.plan.messages import (
    context_messages,
    end_messages,
    loss_messages,
    tensor_end_messages,
    tensor_messages,
    weight_messages,
)
from puna.plan.step_time import StepTime, Traffic, step_time

RATES = Rates(products=100e12, attention=50e12, memory=1e12)
LAYERS = 12


def share(devices: int, **tables: dict[str, Any]) -> Share:
    model = {
        "dim": 512, "n_layers": LAYERS, "n_heads": 8, "n_kv_heads": 8, "ffn_dim": 1536, "vocab_size": 1024,
        "context": 256,
    }  # fmt: skip
    train = {"tokens": 2**24, "batch_tokens": 2**16, "micro_batch_tokens": 4096, "precision": "bf16"}
    values: dict[str, Any] = {"name": "small", "model": model, "train": train, "optim": {"warmup_steps": 0}}
    for name, table in tables.items():
        values[name] = values.get(name, {}) | table
    return share_of(Recipe.model_validate(values), devices, GPU)


def links(gigabytes: float) -> Links:
    return Links(Link("inside", gigabytes * 1e9, 0.0), Link("outside", gigabytes * 1e8, 0.0), node_devices=8)


def kind(step: StepTime, name: str) -> Traffic:
    return next(kind for kind in step.traffic if kind.name == name)


def played_through(one: Share, between: Links, replicas: bool = False) -> float:
    """Seconds of a pass: one stream of kernels, one of messages, and what each waits for.

    `replicas` adds the message of a step's last pass.
    """
    block, edge = weight_messages(one, between, one.block), end_messages(one, between)
    forward, backward = (work(one).seconds(RATES) for work in (block_forward, block_backward))
    # The ends and the first block: nothing to hide behind.
    sent = edge.gather.seconds + block.gather.seconds
    done = sent
    for number in range(LAYERS):
        started, sent = done, max(sent, done)
        if number + 1 < LAYERS:
            sent += block.gather.seconds
        done = max(started + forward, sent)
    # The output layer's gradients are there when the loss is; the last block's weights are still there.
    done += ends(one).seconds(RATES)
    sent = done
    for number in range(LAYERS):
        started, sent = done, max(sent, done)
        if number + 1 < LAYERS:
            sent += block.gather.seconds
        gathered = sent
        done = max(started + backward, gathered)
        sent = max(sent, started + backward) + block.reduce.seconds + replicas * block.replicas.seconds
    return max(sent, done) + edge.reduce.seconds + replicas * edge.replicas.seconds


def estimated(one: Share, between: Links) -> float:
    """The same, of one pass in a step of one."""
    step = step_time(one, RATES, between)
    outside = {"clipping and optimizer", "copies of weights, sums of gradients"}
    return sum(part.seconds for part in step.parts if part.name not in outside) + step.exposed_seconds


@pytest.mark.parametrize("gigabytes", [1000.0, 30.0, 10.0, 6.0, 3.0, 1.0])
def test_pass_is_as_long_as_one_that_is_played_through(gigabytes: float):
    """Messages that are hidden, messages of about a block's length, and messages that decide."""
    one = share(4, train={"batch_tokens": 4 * 4096})
    assert estimated(one, links(gigabytes)) == pytest.approx(played_through(one, links(gigabytes)), rel=0.05)


@pytest.mark.parametrize("gigabytes", [1000.0, 10.0, 3.0])
def test_replicas_add_up_once_per_step(gigabytes: float):
    one = share(16, train={"batch_tokens": 16 * 4096}, parallel={"replicate": 2})
    assert estimated(one, links(gigabytes)) == pytest.approx(played_through(one, links(gigabytes), True), rel=0.05)
    four = share(16, train={"batch_tokens": 4 * 16 * 4096}, parallel={"replicate": 2})
    name = "gradients of replicas"
    once, often = (kind(step_time(each, RATES, links(gigabytes)), name) for each in (one, four))
    assert once == often


def test_fast_links_hide_all_but_what_has_nothing_to_hide_behind():
    one = share(4, train={"batch_tokens": 4 * 4096})
    step = step_time(one, RATES, links(1000.0))
    block, edge = weight_messages(one, links(1000.0), one.block), end_messages(one, links(1000.0))
    first = edge.gather.seconds + block.gather.seconds
    assert kind(step, "weights gathered").exposed_seconds == pytest.approx(first)
    last = block.reduce.seconds + edge.reduce.seconds
    assert kind(step, "gradients scattered to their weights").exposed_seconds == pytest.approx(last)


def test_slow_links_show_all_but_what_is_computed_meanwhile():
    one = share(4, train={"batch_tokens": 4 * 4096})
    step = step_time(one, RATES, links(0.1))
    sent = sum(kind.seconds for kind in step.traffic)
    hidden = (LAYERS - 1) * (block_forward(one) + block_backward(one)).seconds(RATES)
    assert step.exposed_seconds == pytest.approx(sent - hidden)


def test_bytes_are_sent_once_per_pass_or_once_per_step():
    one, four = (share(4, train={"batch_tokens": passes * 4 * 4096}) for passes in (1, 4))
    once, often = (step_time(each, RATES, links(100.0)) for each in (one, four))
    assert often.traffic == [
        Traffic(kind.name, *(pytest.approx(4 * getattr(kind, field)) for field in list(vars(kind))[1:]))
        for kind in once.traffic
    ]
    weights = kind(once, "weights gathered")
    assert weights.node_bytes == pytest.approx(3 / 4 * 2 * ((2 * LAYERS - 1) * one.block + one.ends))
    gradients = kind(once, "gradients scattered to their weights")
    assert gradients.node_bytes == pytest.approx(3 / 4 * 4 * (LAYERS * one.block + one.ends))


def test_tensor_and_context_parallelism_are_waited_for():
    one = share(16, parallel={"tensor": 2, "context": 2}, train={"recompute": "full"})
    step, between = step_time(one, RATES, links(100.0)), links(100.0)
    tensor, context = tensor_messages(one, between), context_messages(one, between)
    found = kind(step, "tensor parallelism")
    each = sum(messages.seconds for messages in (tensor.forward, tensor.backward, tensor.again))
    assert found.exposed_seconds == found.seconds
    assert found.seconds == pytest.approx(one.passes * (LAYERS * each + tensor_end_messages(one, between).seconds))
    pairs = kind(step, "keys and values")
    assert pairs.exposed_seconds == pytest.approx(one.passes * LAYERS * 3 * context.forward.seconds)
    assert kind(step, "loss").exposed_seconds == pytest.approx(one.passes * loss_messages(one, between).seconds)


def test_one_device_sends_nothing():
    step = step_time(share(1), RATES, links(1.0))
    assert (step.traffic, step.exposed_seconds) == ([], 0.0)
    assert step.seconds == sum(part.seconds for part in step.parts)


def test_rounding_to_float8_is_a_part_of_its_own_and_its_products_are_faster():
    rates = Rates(products=100e12, attention=50e12, memory=1e12, float8=200e12)
    plain, narrow = (
        {part.name: part.seconds for part in step_time(share(1, train=train), rates, links(1.0)).parts}
        for train in ({}, {"float8": True})
    )
    assert set(narrow) - set(plain) == {"float8 made of what products read"}
    # Two thirds of the blocks' products in half the time.
    one = share(1)
    blocks = one.passes * LAYERS * (block_forward(one) + block_backward(one)).products
    saved = Work(products=blocks / 3).seconds(rates)
    assert plain["matrix products"] - narrow["matrix products"] == pytest.approx(saved)
    assert narrow["norms, rotary turns, SwiGLU, residuals"] == plain["norms, rotary turns, SwiGLU, residuals"]


def test_what_is_computed_again_is_a_part_of_its_own():
    none, full = (share(1, train={"recompute": policy}) for policy in ("none", "full"))
    names = [[part.name for part in step_time(each, RATES, links(1.0)).parts] for each in (none, full)]
    assert set(names[1]) - set(names[0]) == {"computed again"}
    more = step_time(full, RATES, links(1.0)).seconds - step_time(none, RATES, links(1.0)).seconds
    assert more == pytest.approx(full.passes * LAYERS * block_again(full).seconds(RATES))
