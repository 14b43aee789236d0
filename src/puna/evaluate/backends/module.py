"""The model of a training session as it lies on its devices: nothing is converted, copied or written.

A row is a whole sequence, computed without a cache. Rows of about one length make a batch; shorter ones are filled up
on the right, where attention, which only looks back, never sees the filling. Sharded weights are gathered by all
devices together, so all processes make the same batches, each computes every n-th, and all run equally many passes.

Axes: B rows   T tokens   D model width   W positions whose next token is asked for   V vocabulary   Q questions
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from puna.core.errors import EvaluateError
from puna.evaluate.backend import Pair
from puna.infer.requests import Request, Score
from puna.infer.sampling import not_finite
from puna.model.parts import local
from puna.ops.attention import gpu_kernels
from puna.parallel.apply import reshard
from puna.parallel.mesh import Mesh
from puna.parallel.objective import Objective
from puna.parallel.world import World
from puna.tokenizer.tokenizer import Tokenizer


@dataclass(slots=True)
class _Row:
    """A sequence that the model reads, and the pairs that it answers: they differ in their last token alone."""

    tokens: tuple[int, ...]
    first: int
    """The first position whose next token is asked for; all behind it are asked for, too."""
    pairs: list[int] = field(default_factory=list)
    """The places of these pairs among all."""


class ModuleBackend:
    """Implements `puna.evaluate.backend.Backend` with the modules that training moves; it only scores.

    Args:
        objective: The session's, on a layout for which `can_score` is true.
        tokenizer: The model's.
        world: The processes; all of them score the same pairs at the same time and get the same scores.
        tokens_per_pass: Tokens of a batch with their filling at most; a longer row is a batch of its own.
    """

    exact = False

    def __init__(self, objective: Objective, tokenizer: Tokenizer, world: World, *, tokens_per_pass: int) -> None:
        self.tokenizer = tokenizer
        self.longest = objective.model.config.context
        self._objective, self._world, self._tokens_per_pass = objective, world, tokens_per_pass
        self.title = f"the modules of training on {world.device.type}, {objective.mesh.describe()}"

    def score(self, pairs: Sequence[Pair]) -> list[Score]:
        """How likely each continuation is; pairs that differ in their last token alone are computed once.

        Raises:
            EvaluateError: A context is empty, or a pair is longer than the model's context and one token more.
            GenerateError: The model's scores are not finite numbers.
        """
        self._check(pairs)
        starts = np.cumsum([0, *(len(then) for _, then in pairs)]).tolist()
        # Log-probabilities, and whether each token is the likeliest, one continuation after the other.
        found_2Q = torch.zeros(2, starts[-1], dtype=torch.float64, device=self._world.device)
        mesh = self._objective.mesh
        with (
            torch.no_grad(), torch.compiler.set_stance("force_eager"), gpu_kernels(shapes_repeat=False),
            self._objective.passes(),
        ):  # fmt: skip
            for batch, counts in _own(batches(rows(pairs), self._tokens_per_pass), mesh):
                answers_2Q = self._answers(batch, pairs)
                if counts:
                    places = [place for row in batch for pair in row.pairs for place in range(*starts[pair : pair + 2])]
                    found_2Q[:, torch.tensor(places, device=found_2Q.device)] = answers_2Q
        reshard(self._objective.model)
        logprobs, greedy = (self._world.sum(found_2Q) if starts[-1] else found_2Q).tolist()
        if not np.isfinite(logprobs).all():
            raise not_finite()
        return [
            Score(logprobs=tuple(logprobs[start:end]), greedy=all(greedy[start:end])) for start, end in pairwise(starts)
        ]

    def write(self, requests: Sequence[Request]) -> NoReturn:
        """Refuse: a session's model does not write, because it has no cache.

        Raises:
            EvaluateError: Always.
        """
        raise EvaluateError("tasks whose answers are generated cannot be evaluated during training")

    def _check(self, pairs: Sequence[Pair]) -> None:
        for context, then in pairs:
            if not context:
                raise EvaluateError("context has no tokens, and a model needs at least one to continue")
            if len(context) + len(then) > self.longest + 1:  # the last token is only looked at
                raise EvaluateError(
                    f"the text is {len(context) + len(then)} tokens long, but the model's context is {self.longest}"
                )

    def _answers(self, batch: list[_Row], pairs: Sequence[Pair]) -> Tensor:
        """Of each token of the batch's continuations its log-probability and whether it is the likeliest, (2, Q)."""
        device, longest = self._world.device, max(len(row.tokens) for row in batch)
        tokens_BT = np.zeros((len(batch), longest), dtype=np.int64)
        wanted_W: list[int] = []
        asked_Q: list[int] = []
        targets_Q: list[int] = []
        for number, row in enumerate(batch):
            tokens_BT[number, : len(row.tokens)] = row.tokens
            base = len(wanted_W) - row.first
            wanted_W += range(number * longest + row.first, number * longest + len(row.tokens))
            for pair in row.pairs:
                context, then = pairs[pair]
                asked_Q += range(base + len(context) - 1, base + len(row.tokens))
                targets_Q += then
        x_BTD = self._objective.model.hidden(torch.from_numpy(tokens_BT).to(device))
        x_WD = x_BTD.flatten(0, 1)[torch.tensor(wanted_W, device=device)]
        weight_VD = local(self._objective.model.output.weight)
        return _told(x_WD, weight_VD, np.array(asked_Q), np.array(targets_Q), self._objective.chunk_tokens)


def can_score(mesh: Mesh) -> bool:
    """Whether the layout can score rows: each device then has whole sequences and the whole vocabulary."""
    return mesh.tensor == mesh.context == 1


def rows(pairs: Sequence[Pair]) -> list[_Row]:
    """The sequences that the model must read, the shortest first; a pair without continuation needs none."""
    found: dict[tuple[int, ...], _Row] = {}
    for place, (context, then) in enumerate(pairs):
        if then:
            tokens = (*context, *then)[:-1]
            row = found.setdefault(tokens, _Row(tokens, len(tokens)))
            row.first = min(row.first, len(context) - 1)
            row.pairs.append(place)
    return [found[tokens] for tokens in sorted(found, key=lambda tokens: (len(tokens), tokens))]


def batches(rows: Sequence[_Row], tokens: int) -> Iterator[list[_Row]]:
    """Rows, sorted by length, in groups of at most `tokens` tokens with their filling, and of at least one row."""
    batch: list[_Row] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(row.tokens) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _own(batches: Iterator[list[_Row]], mesh: Mesh) -> Iterator[tuple[list[_Row], bool]]:
    """This device's batches, and whether each one counts: all devices get equally many, some a last one for company."""
    while group := [batch for _, batch in zip(range(mesh.batches), batches, strict=False)]:
        counts = mesh.batch_index < len(group)
        yield group[mesh.batch_index if counts else 0], counts


def _told(x_WD: Tensor, weight_VD: Tensor, asked_Q: np.ndarray, targets_Q: np.ndarray, chunk: int) -> Tensor:
    """The log-probability of each target and whether it is the likeliest token, the first among equals, (2, Q) float64.

    Args:
        x_WD: What the output layer reads.
        weight_VD: The output layer's.
        asked_Q: The row of `x_WD` that each question is about.
        targets_Q: The token that each question is about.
        chunk: Rows whose logits exist at one time.
    """
    found_2Q = torch.zeros(2, len(asked_Q), dtype=torch.float64, device=x_WD.device)
    for start in range(0, len(x_WD), chunk):
        logits_CV = (x_WD[start : start + chunk] @ weight_VD.to(x_WD.dtype).T).float()
        here = np.flatnonzero((asked_Q >= start) & (asked_Q < start + chunk))
        at_Q, row_Q, target_Q = (
            torch.from_numpy(numbers).to(x_WD.device) for numbers in (here, asked_Q[here] - start, targets_Q[here])
        )
        logprobs_CV = logits_CV.log_softmax(-1)
        found_2Q[0, at_Q] = logprobs_CV[row_Q, target_Q].double()
        found_2Q[1, at_Q] = (logits_CV.argmax(-1)[row_Q] == target_Q).double()
    return found_2Q
