"""Learning from pairs of answers: a loss of what they are likelier by than under the reference model.

The loss of a pair depends on the log-probabilities of its two answers, which are sums over tokens. So a pass runs the
output layer twice: forward, for the sums; and then with each token weighted by the derivative of its pair's loss, which
gives the gradient of the pairs' losses in chunks like that of the cross-entropy.

The reference model is the initial one; its log-probabilities are computed once (`puna.finetune.reference`).

Axes: B sequences   P tokens of a sequence on this device   K pairs of a sequence   E pairs of the run   S sources
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from puna.config.finetune import PreferenceConfig
from puna.core.errors import TrainError
from puna.parallel.objective import Objective, Passed

PER_TOKEN = frozenset({"dpo-norm", "ipo"})
"""The losses of mean log-probabilities per token; the others are of sums."""

FIGURES = ("pairs", "loss", "right", "chosen_reward", "rejected_reward", "chosen_log_prob", "rejected_log_prob")
"""What is added up over pairs: how many, their losses, how many have the higher reward for the preferred answer (a
tie is half of one), and rewards and log-probabilities of the answers."""


@dataclass(frozen=True, kw_only=True)
class PairTable:
    """What is known of a run's pairs by their number, on the device."""

    reference_E2: Tensor
    """Log-probabilities of the preferred answer and of the other one under the reference model, float64 in nats."""
    sources_E: Tensor
    """The source of each pair, as an index."""
    sources: int
    """How many sources there are."""


def log_ratios(ours_BK2: Tensor, reference_BK2: Tensor, tokens_BK2: Tensor, config: PreferenceConfig) -> Tensor:
    """How much likelier each answer is than under the reference model, in nats or in nats per token: (B, K, 2).

    Args:
        ours_BK2: Log-probabilities of the answers.
        reference_BK2: Those under the reference model.
        tokens_BK2: Learned tokens of the answers.
        config: Names the loss.
    """
    ratios_BK2 = ours_BK2 - reference_BK2
    return ratios_BK2 / tokens_BK2.clamp(min=1) if config.loss in PER_TOKEN else ratios_BK2


def pair_losses(ratios_BK2: Tensor, config: PreferenceConfig) -> Tensor:
    """The loss of each pair (B, K) from the ratios of its answers; the formulas are at `PreferenceConfig.loss`."""
    chosen_BK, rejected_BK = ratios_BK2.unbind(-1)
    margins_BK = chosen_BK - rejected_BK
    if config.loss == "ipo":
        return (margins_BK - 1 / (2 * config.beta)).square()
    if config.loss == "apo-zero":
        return torch.sigmoid(-config.beta * chosen_BK) + torch.sigmoid(config.beta * rejected_BK)
    return -F.logsigmoid(config.beta * margins_BK)


@dataclass(kw_only=True)
class PreferenceObjective:
    """Computes losses of pairs, for the steps of a session (`Session.learns_by`).

    Both answers of a pair are in one sequence (`Passed.pairs_BK`).

    Raises:
        TrainError: The losses of tokens have a z-loss.
    """

    tokens: Objective
    """Computes the losses of tokens."""
    config: PreferenceConfig
    table: PairTable | None = None
    """What is known of the pairs; set before the first step."""
    sums_FS: Tensor | None = field(default=None, init=False)
    """`FIGURES` of each source over the pairs of this device since `passes` was entered, float64."""

    def __post_init__(self) -> None:
        if self.tokens.z_loss:
            raise TrainError(
                f"train.z_loss = {self.tokens.z_loss:g} is a part of the loss of tokens, which preferences have not",
                hint="set train.z_loss = 0",
            )

    @contextmanager
    def passes(self) -> Iterator[None]:
        """A context for forward and backward passes; leave it before the optimizer moves the weights."""
        self.sums_FS = None
        with self.tokens.passes():
            yield

    def train(self, passed: Passed) -> tuple[Tensor, Tensor]:
        """What to differentiate, whose gradients are those of the sum of the pairs' losses; and these losses, (B, P).

        A pair's loss is spread evenly over the learned tokens of its answers, in float64. The number of pairs divides
        the sums, as that of targets does the losses of tokens.
        """
        spread_BP: list[Tensor] = []

        def weigh(losses_BP: Tensor) -> Tensor:
            return self._weigh(passed, losses_BP, spread_BP)

        total, _ = self.tokens.train(passed, weigh)
        return total, spread_BP[0]

    @torch.no_grad()
    def measure(self, passed: Passed, table: PairTable) -> Tensor:
        """The sums of `FIGURES` over the pairs of each source, (F, S) float64; nothing is kept."""
        ours_BK2 = self.log_probabilities(passed)
        ratios_BK2 = self._ratios(passed, ours_BK2, table)
        return self._figures(passed, table, pair_losses(ratios_BK2, self.config), ratios_BK2, ours_BK2)

    @torch.no_grad()
    def log_probabilities(self, passed: Passed) -> Tensor:
        """The log-probabilities of the answers of each pair, (B, K, 2) float64 in nats; equal on all devices."""
        return self._of_answers(passed, self.tokens.measure(passed))

    def _weigh(self, passed: Passed, losses_BP: Tensor, spread_BP: list[Tensor]) -> Tensor:
        """The derivative of the pairs' losses with respect to each token's; the spread losses are appended."""
        if self.table is None:
            raise RuntimeError("the reference log-probabilities are not there yet")
        ours_BK2 = self._of_answers(passed, losses_BP)
        with torch.enable_grad():
            ratios_BK2 = self._ratios(passed, ours_BK2.requires_grad_(), self.table)
            pairs_BK = pair_losses(ratios_BK2, self.config).where(_pairs(passed) >= 0, 0.0)
            (slopes_BK2,) = torch.autograd.grad(pairs_BK.sum(), ours_BK2)
        pairs_BK = pairs_BK.detach()
        sums_FS = self._figures(passed, self.table, pairs_BK, ratios_BK2.detach(), ours_BK2.detach())
        self.sums_FS = sums_FS if self.sums_FS is None else self.sums_FS + sums_FS
        shares_BK = pairs_BK / self._tokens(passed).sum(-1).clamp(min=1)
        learned_BP = self.tokens.own_part(passed.targets_BT) >= 0
        spread_BP.append(self._at_tokens(passed, shares_BK[..., None].expand_as(slopes_BK2)).where(learned_BP, 0.0))
        # A loss is the negative of a log-probability.
        return self._at_tokens(passed, -slopes_BK2).float()

    def _at_tokens(self, passed: Passed, values_BK2: Tensor) -> Tensor:
        """For each token of this device the value of its answer, (B, P); any value behind the last answer."""
        documents_BP = self._documents(passed).clamp(max=2 * values_BK2.shape[1] - 1)
        return values_BK2.flatten(1).gather(1, documents_BP)

    def _tokens(self, passed: Passed) -> Tensor:
        """The learned tokens of each answer, (B, K, 2) float64."""
        learned_BT = (passed.targets_BT >= 0).double()
        return _by_answer(learned_BT, of(passed.documents_BT), _pairs(passed).shape[1])

    def _ratios(self, passed: Passed, ours_BK2: Tensor, table: PairTable) -> Tensor:
        reference_BK2 = table.reference_E2[_pairs(passed).clamp(min=0)]
        return log_ratios(ours_BK2, reference_BK2, self._tokens(passed), self.config)

    def _of_answers(self, passed: Passed, losses_BP: Tensor) -> Tensor:
        """The log-probabilities of answers from the losses of this device's tokens, summed over those that share."""
        sums_BK2 = _by_answer(-losses_BP.double(), self._documents(passed), _pairs(passed).shape[1])
        if self.tokens.mesh.context_mesh is not None:
            dist.all_reduce(sums_BK2, group=self.tokens.mesh.context_mesh.get_group())
        return sums_BK2

    def _documents(self, passed: Passed) -> Tensor:
        return self.tokens.own_part(of(passed.documents_BT))

    def _figures(
        self, passed: Passed, table: PairTable, losses_BK: Tensor, ratios_BK2: Tensor, ours_BK2: Tensor
    ) -> Tensor:
        """The sums of `FIGURES` by source, (F, S)."""
        numbers_BK = _pairs(passed)
        rewards_BK2 = self.config.beta * ratios_BK2
        right_BK = (1 + torch.sign(rewards_BK2[..., 0] - rewards_BK2[..., 1])) / 2
        figures_FBK = torch.stack(
            (torch.ones_like(losses_BK), losses_BK, right_BK, *rewards_BK2.unbind(-1), *ours_BK2.unbind(-1))
        )
        sources_BK = table.sources_E[numbers_BK.clamp(min=0)].where(numbers_BK >= 0, -1)
        is_source_SN = torch.arange(table.sources, device=sources_BK.device)[:, None] == sources_BK.flatten()
        # A product, because adding by index has no fixed order on a GPU.
        return figures_FBK.flatten(1) @ is_source_SN.double().T


def _pairs(passed: Passed) -> Tensor:
    return of(passed.pairs_BK)


def of(tensor: Tensor | None) -> Tensor:
    """What a batch of pairs has.

    Raises:
        ValueError: The batch is not of pairs.
    """
    if tensor is None:
        raise ValueError("a batch of pairs has the number of each token's document and of each sequence's pairs")
    return tensor


def _by_answer(values_BP: Tensor, documents_BP: Tensor, pairs: int) -> Tensor:
    """The sums of float64 values over the tokens of each answer, (B, K, 2)."""
    answers = torch.arange(2 * pairs, device=values_BP.device)
    sums = [
        (documents_P == answers[:, None]).double() @ values_P
        for values_P, documents_P in zip(values_BP, documents_BP, strict=True)
    ]
    return torch.stack(sums).view(len(values_BP), pairs, 2)
