"""Loss and bits per byte of the held-out documents, per source.

Bits per byte is the negative log2-likelihood of the text divided by its UTF-8 bytes; unlike the loss it compares
across tokenizers. Text is read in windows of the model's context that do not overlap, so a token has half a context
before it on average. The end of a document is predicted and counted; the beginning-of-sequence token is not.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from puna.config.recipe import Recipe
from puna.core.console import progress
from puna.core.errors import TrainError
from puna.core.schema.lines import ValidationLine
from puna.ops.transfer import sent
from puna.parallel.apply import reshard
from puna.parallel.objective import Objective, Passed
from puna.parallel.world import World
from puna.shards.heldout import IGNORE, HeldoutBatch, heldout_batches
from puna.shards.shards import TokenShards
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.session import Listener, Outcome, Session


@dataclass(frozen=True)
class Validation:
    """One number per source."""

    loss: dict[str, float]
    """Mean negative log-likelihood, nats per token."""
    bits_per_byte: dict[str, float]


class Validator(Listener):
    """Validates a session's model at intervals on a part of the held-out text, and at the end on all of it.

    Args:
        heldout: The held-out shards by source.
        tokenizer: The tokenizer that they were written with.
        recipe: Decides how often, and on how much text.
    """

    def __init__(self, heldout: dict[str, TokenShards], tokenizer: Tokenizer, recipe: Recipe) -> None:
        self.final = Validation({}, {})
        """The results of the last validation, on all held-out text; empty until the run has ended."""
        self._heldout, self._recipe = heldout, recipe
        self._token_bytes = [len(text) for text in tokenizer.token_bytes()]
        self._space_prefix = tokenizer.space_prefix

    def stepped(self, session: Session, outcome: Outcome) -> None:
        """Validate if it is due."""
        if session.is_due(self._recipe.validation.every_steps):
            self._validate(session, final=False)

    def ended(self, session: Session) -> None:
        """Validate on all held-out text."""
        self.final = self._validate(session, final=True)

    def _validate(self, session: Session, *, final: bool) -> Validation:
        session.settle()
        started = time.perf_counter()
        result = validate(
            session.objective,
            self._heldout,
            self._token_bytes,
            session.world,
            max_tokens=None if final else self._recipe.validation.tokens,
            micro_batch_tokens=self._recipe.train.micro_batch_tokens,
            space_prefix=self._space_prefix,
        )
        record_validation(session, result, started, final=final)
        figures = ", ".join(f"{source} {bits:.3f}" for source, bits in result.bits_per_byte.items())
        session.say(f"step {session.state.step}: bits per byte of held-out text: {figures}")
        return result


def record_validation(session: Session, result: Validation, started: float, *, final: bool) -> None:
    """Send the line of a validation that began at `started`, by `time.perf_counter`.

    Raises:
        TrainError: A loss is not finite.
    """
    seconds = time.perf_counter() - started
    session.agreed(lambda: _check_finite(result, session.state.step))
    session.record(ValidationLine, final=final, loss=result.loss, bits_per_byte=result.bits_per_byte, seconds=seconds)


def _check_finite(result: Validation, step: int) -> None:
    """Refuse a loss that is not finite: JSON cannot hold it, and no later step can repair the weights.

    Raises:
        TrainError: It names the first source.
    """
    for source, loss in result.loss.items():
        if not math.isfinite(loss):
            raise TrainError(
                f"step {step}: the loss on the held-out text of {source!r} is {loss}, so the weights are too large to "
                "compute with",
                hint="begin again, from an older checkpoint with --init-from or from the start, with a lower optim.lr",
            )


def validate(
    objective: Objective,
    heldout: dict[str, TokenShards],
    token_bytes: list[int],
    world: World,
    *,
    max_tokens: int | None,
    micro_batch_tokens: int,
    space_prefix: bool,
) -> Validation:
    """Loss and bits per byte of each source; all processes get the same.

    Args:
        objective: The model in its layout. It runs eagerly here, because shapes differ from training's and compiling
            again would cost more.
        heldout: The held-out shards by source.
        token_bytes: Bytes of text that each token id stands for.
        world: The processes, which share the work.
        max_tokens: Tokens per source at most, spread evenly; None for all.
        micro_batch_tokens: Tokens per forward pass.
        space_prefix: Whether the tokenizer puts a space before a text; the space is not counted as a byte of the text.
    """
    context = objective.model.config.context
    rows = max(1, micro_batch_tokens // context)
    loss, bits = {}, {}
    for source, shards in heldout.items():
        total = min(shards.tokens, max_tokens or shards.tokens)
        bar = progress(f"validate {source}", total, "tokens", visible=world.main)
        # nats, tokens, bytes
        sums = torch.zeros(3, dtype=torch.float64, device=world.device)
        with torch.compiler.set_stance("force_eager"), objective.passes(), bar as advance:
            batches = heldout_batches(
                shards, context, rows, token_bytes, max_tokens=max_tokens, space_prefix=space_prefix
            )
            for batch in _own(batches, objective.mesh.batch_index, objective.mesh.batches):
                tokens_BT, targets_BT = sent(batch.inputs_BT, world.device), sent(batch.targets_BT, world.device)
                losses_BP = objective.measure(Passed(inputs_BT=tokens_BT, targets_BT=targets_BT))
                sums[0] += losses_BP.double().sum() * objective.mesh.context
                sums[1] += int((batch.targets_BT != IGNORE).sum())
                sums[2] += int(batch.bytes_BT.sum())
                advance(tokens_BT.numel() * objective.mesh.batches)
        nats, n_tokens, n_bytes = (world.sum(sums) / (objective.mesh.context * objective.mesh.tensor)).tolist()
        loss[source] = nats / n_tokens
        bits[source] = nats / math.log(2) / n_bytes
    reshard(objective.model)
    return Validation(loss, bits)


def _own(batches: Iterator[HeldoutBatch], index: int, readers: int) -> Iterator[HeldoutBatch]:
    """Every `readers`-th batch from `index` on; all readers get the same number, some a last one without targets.

    Sharded models run only where all devices run them.
    """
    while group := list(islice(batches, readers)):
        if index < len(group):
            yield group[index]
        else:
            like = group[0]
            yield HeldoutBatch(like.inputs_BT, np.full_like(like.targets_BT, IGNORE), np.zeros_like(like.bytes_BT))
