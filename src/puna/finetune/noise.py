"""Dropout (Srivastava et al. 2014) and NEFTune's noise (Jain et al. 2024), put on a model from outside.

Dropout sets values to zero after the embedding and after each half of a block, before the residual stream takes them,
and scales the others so that the expected value stays. NEFTune adds uniform noise of at most alpha / sqrt(L D) to the
embeddings of an example of L tokens, D wide.

What is drawn depends on the seed, the number of the sequence in the order of the run, the token's place in it, the
place in the model and the feature: on nothing else. So a run that goes on draws what the unbroken one draws, and
neither accumulation, nor recomputation, nor the layout over devices changes anything. Where no gradients are computed,
in validation, evaluations and samples, nothing is drawn.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from puna.config.finetune import FinetuneConfig
from puna.model.llama import Llama
from puna.model.lora import update_of, updated
from puna.ops.random_bits import STRIDE, key_of, mixed, streams
from puna.ops.transfer import sent
from puna.parallel.context import own_positions
from puna.parallel.mesh import Mesh
from puna.parallel.objective import Passed
from puna.train.session import Learns

_SIGN = 0x7FFFFFFF
"""All bits of an int32 but its sign."""


class Noise:
    """The noise of one pass: which values are dropped, and what is added to the embeddings.

    Axes: B sequences of the pass   T tokens of a sequence   P of them on this device   D features

    Args:
        mesh: The layout, which decides which tokens this device has.
        dropout: Share of the values that are dropped.
        neftune: NEFTune's alpha; 0 adds nothing.
        inputs: Share of the inputs of low-rank updates that are dropped.
        seed: Of what is drawn.
    """

    def __init__(self, mesh: Mesh, *, dropout: float, neftune: float, inputs: float = 0.0, seed: int) -> None:
        self._mesh, self._seed = mesh, seed
        self._dropout, self._alpha, self._inputs = dropout, neftune, inputs
        self._begun = False
        self._tokens_BP = self._lengths_BP = torch.empty(0)

    def begin(self, passed: Passed) -> None:
        """Draw for another pass from here on; its backward pass may compute parts of it again."""
        rows, tokens = passed.inputs_BT.shape
        device = passed.inputs_BT.device
        keys_B2 = [key_of(self._seed, passed.first + row) for row in range(rows)]
        keys_2B1 = sent(np.array(keys_B2, dtype=np.int32).T.copy(), device)[:, :, None]
        places_P = self._places(tokens, device)
        self._tokens_BP = mixed(mixed(places_P.int() * STRIDE + keys_2B1[0]) ^ keys_2B1[1])
        if self._alpha:
            self._lengths_BP = _lengths(passed)[:, places_P]
        self._begun = True

    def dropped(self, x_BPD: Tensor, site: Tensor) -> Tensor:
        """The values after dropout at one place of the model.

        Args:
            x_BPD: The values, of the pass that has begun.
            site: int32 scalar, the key of the place.
        """
        return self._dropped(x_BPD, site, self._dropout)

    def dropped_input(self, x_BPD: Tensor, site: Tensor) -> Tensor:
        """The input of a low-rank update after dropout; arguments as for `dropped`."""
        return self._dropped(x_BPD, site, self._inputs)

    def _dropped(self, x_BPD: Tensor, site: Tensor, share: float) -> Tensor:
        if not (self._begun and share and torch.is_grad_enabled()):
            return x_BPD
        kept_BPD = (self._bits(x_BPD, site) & _SIGN) >= round(share * 2**31)
        return torch.where(kept_BPD, x_BPD / (1 - share), 0.0)

    def added(self, x_BPD: Tensor, site: Tensor) -> Tensor:
        """Embeddings with NEFTune's noise; arguments as for `dropped`."""
        if not (self._begun and self._alpha and torch.is_grad_enabled()):
            return x_BPD
        scale_BP = self._alpha / (self._lengths_BP.float() * x_BPD.shape[-1]).sqrt()
        unit_BPD = self._bits(x_BPD, site).float() * 2.0**-31
        return x_BPD + (unit_BPD * scale_BP[:, :, None]).type_as(x_BPD)

    def _bits(self, x_BPD: Tensor, site: Tensor) -> Tensor:
        """int32 of random bits for each value."""
        return streams(self._tokens_BP ^ site, x_BPD.shape[-1])

    def _places(self, tokens: int, device: torch.device) -> Tensor:
        """The places in the sequence of the tokens that this device has between the halves of blocks."""
        places = own_positions(tokens, self._mesh.context_index, self._mesh.context, device)
        return places.chunk(self._mesh.tensor)[self._mesh.rank % self._mesh.tensor]


def apply_noise(model: Llama, mesh: Mesh, config: FinetuneConfig, seed: int) -> Noise | None:
    """Put the recipe's noise on the model, in place.

    Call it when the model is in its layout, before its first pass.

    Args:
        model: Its blocks may be sharded, recomputed, compiled or have low-rank updates.
        mesh: The layout.
        config: `dropout`, `neftune` and `lora.dropout`.
        seed: Of what is drawn.

    Returns:
        What `Noisy` tells of each pass; None where the recipe asks for no noise, and the model is as it was.
    """
    inputs = config.lora.dropout if config.method == "lora" else 0.0
    if not config.dropout and not config.neftune and not inputs:
        return None
    noise = Noise(mesh, dropout=config.dropout, neftune=config.neftune, inputs=inputs, seed=seed)
    device = next(model.parameters()).device
    added, embedded = (_site(seed, name, device) for name in ("added", "embedded"))

    def after_embedding(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return noise.dropped(noise.added(output, added), embedded)

    model.tok_embeddings.register_forward_hook(after_embedding)
    for name, layer in updated(model) if inputs else ():
        update = update_of(layer)
        update.noise, update.site = noise, _site(seed, name, device)
    if config.dropout:
        for number, block in enumerate(model.blocks()):
            for name in ("attention", "feed_forward"):
                half: Any = getattr(block, name)
                # A hook would have a number of its own in every block, for which each would be compiled again.
                half.__class__ = _dropping(type(half))
                half.noise, half.site = noise, _site(seed, f"{number}.{name}", device)
    return noise


class Noisy:
    """An objective whose passes are noisy: `Session.learns_by` of a tuning with dropout or NEFTune.

    Args:
        objective: Computes the losses.
        noise: What was put on the model.
    """

    def __init__(self, objective: Learns, noise: Noise) -> None:
        self._objective, self._noise = objective, noise

    def passes(self) -> AbstractContextManager[Any]:
        """As the objective's."""
        return self._objective.passes()

    def train(self, passed: Passed) -> tuple[Tensor, Tensor]:
        """What the objective computes, with the noise of this pass."""
        self._noise.begin(passed)
        return self._objective.train(passed)


@cache
def _dropping(half: type[nn.Module]) -> type[nn.Module]:
    """The class of half a block whose output is dropped in part."""

    def forward(self: Any, *inputs: Any) -> Tensor:
        return self.noise.dropped(half.forward(self, *inputs), self.site)

    members: dict[str, Callable[..., Tensor]] = {"forward": forward}
    return type(f"{half.__name__}WithDropout", (half,), members)


def _site(seed: int, name: str, device: torch.device) -> Tensor:
    """The key of a place in the model, an int32 scalar: a number would be compiled into the block that all share."""
    return torch.tensor(key_of(seed, name)[0], dtype=torch.int32, device=device)


def _lengths(passed: Passed) -> Tensor:
    """How many tokens the example of each token has, (B, T); all of the sequence where nothing marks examples."""
    documents_BT = passed.documents_BT
    rows, tokens = passed.inputs_BT.shape
    if documents_BT is None:
        return torch.full((rows, tokens), tokens, device=passed.inputs_BT.device)
    numbers_BT = (documents_BT - documents_BT.amin(1, keepdim=True)).long()
    counts_BT = torch.zeros(rows, tokens + 1, dtype=torch.int64, device=documents_BT.device)
    counts_BT.scatter_add_(1, numbers_BT, torch.ones_like(numbers_BT))
    return counts_BT.gather(1, numbers_BT)
