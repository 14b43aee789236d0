"""How long the messages between devices take, and over which links they go; no torch.

All-gather and reduce-scatter go round in rings, as NCCL has them: of a message of S bytes on n devices each sends the
share (n - 1) / n to the next, the least possible (Patarasuk and Yuan 2009). A ring visits all devices of a machine
before it leaves it, so with l of the devices in each machine one step in l crosses the network; with as many rings as
adapters each of the l sends 1/l of the bytes outside. The slowest link decides: NVLink, or l adapters. An all-reduce is
both, one after the other, and sends twice as much (NVIDIA's nccl-tests, doc/PERFORMANCE.md). Its steps are those of a
tree, which NCCL takes where there are many machines.
"""

import math
from dataclasses import dataclass

from puna.plan.hardware import Link
from puna.plan.layout import Share

LINK_SHARE = 0.8
"""Share of a link's rate that collectives reach: NCCL assumes 20 of the 25 GB/s of a link of the A100's NVLink, 20.6 of
the H100's (src/graph/topo.h). Taken for networks too, where its tests reach 0.7 to 0.95."""


@dataclass(frozen=True)
class Links:
    """The links between devices."""

    node: Link
    """The link of a device to others in its machine."""
    network: Link
    """The link of a device to other machines."""
    node_devices: int
    """Number of devices of a machine."""


@dataclass(frozen=True)
class Group:
    """Devices that exchange messages."""

    devices: int
    together: int
    """How many of them are in one machine."""

    @property
    def nodes(self) -> int:
        """Machines over which they are spread."""
        return math.ceil(self.devices / self.together)


@dataclass(frozen=True)
class Sent:
    """What one device sends, and how long it takes."""

    node_bytes: float = 0.0
    """Bytes to devices of its machine."""
    network_bytes: float = 0.0
    """Bytes to other machines."""
    seconds: float = 0.0

    def __add__(self, other: "Sent") -> "Sent":
        return Sent(
            self.node_bytes + other.node_bytes, self.network_bytes + other.network_bytes, self.seconds + other.seconds
        )

    def __mul__(self, times: float) -> "Sent":
        return Sent(times * self.node_bytes, times * self.network_bytes, times * self.seconds)


def group(devices: int, distance: int, node_devices: int) -> Group:
    """A group of devices whose numbers are `distance` apart, on machines of `node_devices` each."""
    return Group(devices, max(1, min(devices, node_devices // distance)))


def tensor_group(share: Share, links: Links) -> Group:
    """Devices that share each matrix product; in the mesh they are neighbours (`puna.parallel.mesh`)."""
    return group(share.tensor, 1, links.node_devices)


def context_group(share: Share, links: Links) -> Group:
    """Devices that share each sequence."""
    return group(share.context, share.tensor, links.node_devices)


def weight_group(share: Share, links: Links) -> Group:
    """Devices over which weights are sharded, those of a context group among them."""
    return group(share.weight_devices, share.tensor, links.node_devices)


def replica_group(share: Share, links: Links) -> Group:
    """Devices that hold the same shards."""
    return group(share.replicate, share.tensor * share.weight_devices, links.node_devices)


def gathered(size: float, among: Group, links: Links) -> Sent:
    """An all-gather that gives every device `size` bytes, or a reduce-scatter of as many from every device."""
    if among.devices == 1:
        return Sent()
    outside = among.nodes - 1
    hops = (among.devices - 1 - outside) * links.node.hop_s + outside * links.network.hop_s
    return _around(size * (among.devices - 1) / among.devices, among, links, hops)


def reduced(size: float, among: Group, links: Links) -> Sent:
    """An all-reduce of `size` bytes from every device."""
    if among.devices == 1:
        return Sent()
    hops = 2 * ((among.together - 1) * links.node.hop_s + math.log2(among.nodes) * links.network.hop_s)
    return _around(2 * size * (among.devices - 1) / among.devices, among, links, hops)


def _around(sent: float, among: Group, links: Links, hops: float) -> Sent:
    """Each device sends this many bytes to the next one of its ring."""
    if among.nodes == 1:
        return Sent(sent, 0.0, sent / (LINK_SHARE * links.node.bytes_per_s) + hops)
    inside = links.node.bytes_per_s if among.together > 1 else math.inf
    rate = min(inside, among.together * links.network.bytes_per_s)
    outside = sent / among.together
    return Sent(sent - outside, outside, sent / (LINK_SHARE * rate) + hops)
