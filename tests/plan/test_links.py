"""Bytes and seconds of collectives, against a ring that is played through."""

import pytest

from puna.config.recipe import Recipe
from puna.plan.hardware import Link
from puna.plan.layout import GPU, Share
from puna.plan.learning import learning_of
from puna.plan.links import (
    LINK_SHARE,
    Group,
    Links,
    Sent,
    context_group,
    gathered,
    group,
    reduced,
    replica_group,
    tensor_group,
    weight_group,
)

LINKS = Links(Link("inside", 100e9, 1e-6), Link("outside", 10e9, 10e-6), node_devices=8)


def all_gather(devices: int, together: int) -> tuple[int, int]:
    """Chunks that all devices of a ring send inside of machines and between them, until each has every chunk."""
    have = [{device} for device in range(devices)]
    inside = outside = 0
    newest = list(range(devices))
    while not all(len(chunks) == devices for chunks in have):
        coming = [newest[device - 1] for device in range(devices)]
        for device, chunk in enumerate(coming):
            have[device].add(chunk)
            if (device - 1) % devices // together == device // together:
                inside += 1
            else:
                outside += 1
        newest = coming
    return inside, outside


@pytest.mark.parametrize(("devices", "together"), [(2, 1), (4, 2), (8, 8), (16, 8), (24, 4)])
def test_ring_sends_what_one_that_is_played_through_sends(devices: int, together: int):
    inside, outside = all_gather(devices, together)
    sent = gathered(float(devices), Group(devices, together), LINKS)
    assert sent.node_bytes * devices == pytest.approx(inside)
    assert sent.network_bytes * devices == pytest.approx(outside)
    twice = reduced(float(devices), Group(devices, together), LINKS)
    assert (twice.node_bytes, twice.network_bytes) == pytest.approx((2 * sent.node_bytes, 2 * sent.network_bytes))


def test_slowest_link_decides():
    one_machine = gathered(8e9, Group(8, 8), LINKS)
    assert one_machine.seconds == pytest.approx(7e9 / (LINK_SHARE * 100e9) + 7 * 1e-6)
    # Eight adapters together are slower than the links inside.
    two_machines = gathered(16e9, Group(16, 8), LINKS)
    assert two_machines.seconds == pytest.approx(15e9 / (LINK_SHARE * 80e9) + 14 * 1e-6 + 1 * 10e-6)
    # One device in each: nothing goes inside.
    apart = gathered(4e9, Group(4, 1), LINKS)
    assert (apart.node_bytes, apart.network_bytes) == (0.0, 3e9)
    assert apart.seconds == pytest.approx(3e9 / (LINK_SHARE * 10e9) + 3 * 10e-6)


def test_steps_of_an_all_reduce_grow_with_the_logarithm_of_machines():
    hops = [reduced(0.0, Group(8 * machines, 8), LINKS).seconds for machines in (1, 2, 4, 256)]
    assert hops == pytest.approx([14e-6, 34e-6, 54e-6, 174e-6])


def test_alone_nothing_is_sent():
    assert gathered(1e9, Group(1, 1), LINKS) == reduced(1e9, Group(1, 1), LINKS) == Sent()


@pytest.mark.parametrize(
    ("devices", "distance", "expected"),
    [(8, 1, (8, 1)), (16, 1, (8, 2)), (4, 2, (4, 1)), (8, 2, (4, 2)), (4, 8, (1, 4)), (4, 16, (1, 4)), (1, 1, (1, 1))],
)
def test_devices_of_a_group_lie_in_as_few_machines_as_their_distance_allows(
    devices: int, distance: int, expected: tuple[int, int]
):
    found = group(devices, distance, 8)
    assert (found.together, found.nodes) == expected


def test_neighbours_share_products_then_sequences_then_weights_then_nothing():
    """The order of `puna.parallel.mesh`, whose first number changes slowest: replica, shard, context, tensor."""
    sizes = {"replicate": 4, "shard": 2, "context": 2, "tensor": 2}
    ranks = {
        (replica, shard, context, tensor): ((replica * 2 + shard) * 2 + context) * 2 + tensor
        for replica in range(4)
        for shard in range(2)
        for context in range(2)
        for tensor in range(2)
    }
    recipe = Recipe.model_validate({"name": "x", "optim": {"warmup_steps": 0}, "train": {"tokens": 2**30}})
    share = Share(recipe=recipe, learning=learning_of(recipe), kind=GPU, devices=32, **sizes)
    varying = {tensor_group: {3}, context_group: {2}, weight_group: {1, 2}, replica_group: {0}}
    for function, axes in varying.items():
        still = set(range(4)) - axes
        members = {rank for place, rank in ranks.items() if not any(place[axis] for axis in still)}
        found = function(share, LINKS)
        assert found == Group(len(members), len({rank for rank in members if rank < 8}))
