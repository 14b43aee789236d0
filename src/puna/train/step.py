"""One optimizer step: passes, gradient, judgement, update."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from puna.ops.transfer import sent
from puna.parallel.apply import set_last_pass
from puna.train.gradient import clip_divisor, gradient_norm
from puna.train.optimizer import set_learning_rate
from puna.train.schedule import learning_rate
from puna.train.session import Session
from puna.train.stability import FINE, Verdict


@dataclass(frozen=True)
class Outcome:
    """What a step came to; numbers stay on the device until somebody looks."""

    loss: Tensor
    """Mean of the whole batch in nats per token."""
    norm: Tensor
    """Of the whole gradient, before clipping."""
    lr: float
    verdict: Verdict
    """Whether the weights were changed."""


def train_step(session: Session, batches: Iterator[NDArray[np.int64]]) -> Outcome:
    """Take one step from the next batches of this device, and count it; the clock runs.

    Where spikes are acted upon, loss and norm are looked at before the weights change, which waits for the device.

    Raises:
        TrainError: Too many batches one after another were not fit to learn from.
    """
    started = time.perf_counter()
    recipe, state = session.recipe, session.state
    lr = learning_rate(state.step, recipe.optim, recipe.total_steps)
    before = session.source_sums
    nats_S = _passes(session, batches)
    loss = nats_S.sum() / recipe.train.batch_tokens
    norm = gradient_norm(session.model)
    verdict = FINE
    if recipe.stability.action != "stop":
        both = torch.stack((loss, norm.double()))
        verdict = session.agreed(lambda: session.monitor.judge(*both.tolist()))
    if not verdict.fine:
        session.source_sums = before
    else:
        set_learning_rate(session.optimizer, lr)
        session.saver.before_update()
        session.optimizer.step(clip_divisor(norm, recipe.optim.clip_norm))
    session.optimizer.zero_grad(set_to_none=True)
    state.step += 1
    session.count_step_time(time.perf_counter() - started)
    session.clock.n_steps += 1
    return Outcome(loss, norm, lr, verdict)


def _passes(session: Session, batches: Iterator[NDArray[np.int64]]) -> Tensor:
    """Forward and backward over this device's part of the batch; the losses of all devices by source, (S,) float64."""
    recipe, mesh, device = session.recipe, session.mesh, session.world.device
    names = session.loader.names
    sums_2S = torch.zeros(2, len(names), dtype=torch.float64, device=device)
    first = session.state.batch_number(session.state.step) * session.rows + mesh.batch_index * session.micro_rows
    with session.objective.passes():
        for number in range(session.passes):
            tokens_BT = sent(next(batches), device)
            labels = session.loader.labels(first + number * session.micro_rows * mesh.batches, session.micro_rows)
            is_source_SB = sent((labels == np.arange(len(names))[:, None]).astype(np.float64), device)
            set_last_pass(session.model, mesh, last=number == session.passes - 1)
            total, losses_BP = session.objective.train(tokens_BT[:, :-1], tokens_BT[:, 1:])
            (total / recipe.train.batch_tokens).backward()
            # A product, because adding by index has no fixed order on a GPU.
            sums_2S[0] += is_source_SB @ losses_BP.sum(1, dtype=torch.float64)
            sums_2S[1] += is_source_SB.sum(1) / mesh.context
    session.world.sum(sums_2S)
    sums_2S /= mesh.tensor
    session.source_sums = sums_2S if session.source_sums is None else session.source_sums + sums_2S
    return sums_2S[0]
