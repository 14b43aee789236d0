"""Random bits that are a function of numbers: no generator, no state, the same on every device and when computed again.

The multipliers are those of MurmurHash3's 32-bit finalizer (Appleby 2011) and 2^32 over the golden ratio (Knuth 1998,
section 6.4). All arithmetic is that of int32, which every backend has.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor

STRIDE = -1640531535
"""2^32 over the golden ratio, odd and as a signed number: consecutive multiples of it are far apart."""
_MULTIPLIERS = (-2048144789, -1028477387)


def mixed(bits: Tensor) -> Tensor:
    """int32 of which each bit depends on all bits that come in: MurmurHash3's finalizer."""
    bits = (bits ^ ((bits >> 16) & 0xFFFF)) * _MULTIPLIERS[0]
    bits = (bits ^ ((bits >> 13) & 0x7FFFF)) * _MULTIPLIERS[1]
    return bits ^ ((bits >> 16) & 0xFFFF)


@torch.library.custom_op("puna::streams", mutates_args=())
def streams(starts_BP: Tensor, length: int) -> Tensor:
    """int32 of random bits, (B, P, length): a stream of SplitMix (Steele et al. 2014) begins at every start.

    An operator of its own, which the compiler leaves alone: without that, sharded and compiled blocks on CPUs crashed
    with a violation of memory (torch 2.13.0). The cause was not found.

    Args:
        starts_BP: int32, random.
        length: Numbers of each stream.
    """
    places = torch.arange(length, dtype=torch.int32, device=starts_BP.device)
    return mixed(mixed(starts_BP)[:, :, None] + places * STRIDE)


@streams.register_fake
def _(starts_BP: Tensor, length: int) -> Tensor:
    return starts_BP.new_empty((*starts_BP.shape, length))


def key_of(*numbers: int | str) -> tuple[int, int]:
    """Two int32 that are a function of numbers and names alone."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    first, second = np.frombuffer(digest, dtype="<i4").tolist()
    return first, second
