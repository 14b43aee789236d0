"""The next token from its logits: a pure function of the logits, the tokens before, the settings and the token's place.

There is no stream of random numbers. To draw from a softmax, every token's logit gets noise of its own and the largest
sum wins (the Gumbel-max trick: Gumbel 1954; Maddison et al. 2014), and the noise is a hash of seed, place in the text
and token id. So a text is the same whatever else runs beside it and however often its request was put aside, and a
small model that draws with the same noise mostly draws the same tokens, which is what speculation lives on.

What a row becomes depends on that row alone, to the bit: nothing here sums over rows, nor in an order that their number
decides. On a CPU a test holds this; on a GPU PyTorch's `cumsum` may choose its order by the number of rows.

Axes in names:
  W rows   V vocabulary   C candidates of a row, likeliest first   n likeliest tokens that are told
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from puna.core.errors import GenerateError
from puna.infer.requests import Sampling, Token

_FEW = 256
"""Candidates that are ordered first; a nucleus is rarely larger, and to order a vocabulary takes 30 times as long."""
_BLOCK = 128
"""Tokens whose largest logit is found at once: PyTorch's `amax` is vectorised and its `argmax` is not."""
_ROWS = 32
"""Rows whose log-probabilities are computed at once, so that a long prompt's need little memory."""
_NONE = -1
"""In place of a token id: the logits are not finite."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What decides a token beside its logits."""

    sampling: Sampling
    seed: int
    """Of this sample: `sampling.seed` plus its number."""
    index: int
    """The token's place in the text that is written, from 0."""
    prompt: Collection[int] = ()
    """Ids of the prompt, for the repetition penalty."""
    counts: Mapping[int, int] = field(default_factory=dict)
    """How often each id stands in the text so far, the prompt left out, for the penalties."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted of one row of logits."""

    draw: Draw | None
    """How to draw its token; None where `token` is already known."""
    token: int
    """A prompt's token, whose log-probability is wanted; otherwise of no meaning."""
    best: int | None
    """As `Request.logprobs`: None wants none, 0 the token's own, n also the n likeliest tokens'."""


def answers(logits_WV: Tensor, asked: Sequence[Asked]) -> list[Token]:
    """The tokens that the rows are asked for; the host waits for the device once.

    Args:
        logits_WV: Scores of all tokens, float32.
        asked: One for each row.

    Raises:
        GenerateError: The largest score of a row is not a finite number.
    """
    draws = [(row, wish.draw) for row, wish in enumerate(asked) if wish.draw is not None]
    if len(draws) == len(asked):
        ids_W = choose(logits_WV, [draw for _, draw in draws])
    else:
        ids_W = torch.tensor([wish.token for wish in asked], device=logits_WV.device)
        if draws:
            rows = [row for row, _ in draws]
            ids_W[rows] = choose(logits_WV[rows], [draw for _, draw in draws])
    groups: dict[int, list[int]] = {}
    for row, wish in enumerate(asked):
        if wish.best is not None:
            groups.setdefault(wish.best, []).append(row)
    if not groups:
        return [Token(id=token) for token in checked(ids_W.tolist())]
    parts = [(n, rows[at : at + _ROWS]) for n, rows in groups.items() for at in range(0, len(rows), _ROWS)]
    found = [log_probabilities(logits_WV[rows], ids_W[rows], n).flatten() for n, rows in parts]
    numbers = torch.cat([ids_W.double(), *found]).tolist()
    tokens = [Token(id=token) for token in checked([int(number) for number in numbers[: len(asked)]])]
    place = len(asked)
    for n, rows in parts:
        for row in rows:
            logprob, *best = numbers[place : place + 1 + 2 * n]
            place += 1 + 2 * n
            pairs = zip(map(int, best[:n]), best[n:], strict=True)
            tokens[row] = Token(id=tokens[row].id, logprob=logprob, best=tuple(pairs))
    return tokens


def choose(logits_WV: Tensor, draws: Sequence[Draw]) -> Tensor:
    """One token id per row, (W,), on the logits' device; `checked` reads them.

    Args:
        logits_WV: Scores of all tokens; they are left as they are.
        draws: One for each row.
    """
    logits_WV = _adjusted(logits_WV.float(), draws)
    ids_W, top_W = _largest(logits_WV)
    drawn = [row for row, draw in enumerate(draws) if draw.sampling.temperature > 0]
    if drawn:
        ids_W[drawn] = torch.stack([_draw(logits_WV[row], top_W[row], draws[row]) for row in drawn])
    return torch.where(top_W.isfinite(), ids_W, _NONE)


def checked(ids: list[int]) -> list[int]:
    """The ids that `choose` gave, on the host.

    Raises:
        GenerateError: The largest score of a row is not a finite number.
    """
    if _NONE in ids:
        raise GenerateError(
            "the model's scores for the next token are not finite numbers, so its weights are damaged or too large",
            hint="use an older checkpoint, or train again with a lower optim.lr",
        )
    return ids


def log_probabilities(logits_WV: Tensor, ids_W: Tensor, n: int) -> Tensor:
    """The model's own log-probabilities, (W, 1 + 2n) in float64: of each row's id, then n ids and theirs, falling.

    Args:
        logits_WV: Scores of all tokens, float32, as the model gave them.
        ids_W: The token of each row.
        n: How many of the likeliest tokens to tell, at most V; the lower id first among equals.
    """
    logprobs_WV = torch.log_softmax(logits_WV, dim=-1)
    parts = [logprobs_WV.gather(1, ids_W.clamp(min=0)[:, None])]
    if n:
        best_Wn = _order(logits_WV, n)
        parts += [best_Wn, logprobs_WV.gather(1, best_Wn)]
    return torch.cat([part.double() for part in parts], dim=1)


def _adjusted(logits_WV: Tensor, draws: Sequence[Draw]) -> Tensor:
    """The logits after bias and penalties; a copy where there are any."""
    copied = False
    for row, draw in enumerate(draws):
        sampling = draw.sampling
        if not sampling.adjusts:
            continue
        if not copied:
            logits_WV, copied = logits_WV.clone(), True
        logits_V, device = logits_WV[row], logits_WV.device
        if bias := sampling.logit_bias:
            logits_V[torch.tensor(list(bias), device=device)] += torch.tensor(list(bias.values()), device=device)
        seen = {*draw.prompt, *draw.counts} if sampling.repetition_penalty != 1 else ()
        if seen:
            ids = torch.tensor(list(seen), device=device)
            old = logits_V[ids]
            penalty = sampling.repetition_penalty
            logits_V[ids] = torch.where(old > 0, old / penalty, old * penalty)
        if draw.counts:
            counts = torch.tensor(list(draw.counts.values()), dtype=torch.float32, device=device)
            less = sampling.presence_penalty + sampling.frequency_penalty * counts
            logits_V[torch.tensor(list(draw.counts), device=device)] -= less
    return logits_WV


def _largest(logits_WV: Tensor) -> tuple[Tensor, Tensor]:
    """The id of each row's largest logit, the lowest among equals, and that logit; a NaN counts as the largest."""
    W, V = logits_WV.shape
    whole = V - V % _BLOCK
    if not whole:
        ids_W = logits_WV.argmax(dim=-1)
        return ids_W, logits_WV.gather(1, ids_W[:, None])[:, 0]
    blocks_WBb = logits_WV[:, :whole].unflatten(1, (-1, _BLOCK))
    block_W = blocks_WBb.amax(dim=-1).argmax(dim=-1)
    best_Wb = blocks_WBb[torch.arange(W, device=logits_WV.device), block_W]
    ids_W = best_Wb.argmax(dim=-1)
    top_W = best_Wb.gather(1, ids_W[:, None])[:, 0]
    ids_W = ids_W + block_W * _BLOCK
    if whole < V:
        last_W = logits_WV[:, whole:].argmax(dim=-1) + whole
        top_last_W = logits_WV.gather(1, last_W[:, None])[:, 0]
        later_W = (top_last_W > top_W) | (top_last_W.isnan() & ~top_W.isnan())
        ids_W, top_W = torch.where(later_W, last_W, ids_W), torch.where(later_W, top_last_W, top_W)
    return ids_W, top_W


def _draw(logits_V: Tensor, top: Tensor, draw: Draw) -> Tensor:
    """A token id, drawn from one row."""
    sampling = draw.sampling
    # Relative to the largest, so that no temperature is too small to divide by.
    scaled_V = (logits_V - top) / max(sampling.temperature, torch.finfo(torch.float32).tiny)
    if sampling.top_k == 0 and sampling.top_p >= 1 and sampling.min_p == 0:
        noise_V = gumbel(draw.seed, draw.index, torch.arange(len(scaled_V), dtype=torch.int32, device=top.device))
        return _largest((scaled_V + noise_V)[None])[0][0]
    probabilities_V = torch.softmax(scaled_V, dim=-1)
    # More and more candidates, until the last of them is not kept; to know it, a GPU would have to be waited for.
    size = _FEW if scaled_V.device.type == "cpu" or 0 < sampling.top_k <= _FEW else len(scaled_V)
    while True:
        ids_C = _order(scaled_V[None], min(size, len(scaled_V)))[0]
        kept_C = _kept(scaled_V[ids_C], probabilities_V[ids_C], sampling)
        if size >= len(scaled_V) or 0 < sampling.top_k <= size or not kept_C[-1]:
            break
        size *= 16
    score_C = scaled_V[ids_C] + gumbel(draw.seed, draw.index, ids_C.int())
    return ids_C[score_C.masked_fill(~kept_C, -torch.inf).argmax()]


def _kept(scaled_C: Tensor, probabilities_C: Tensor, sampling: Sampling) -> Tensor:
    """Which of the candidates, likeliest first, top-k, top-p and min-p leave; the first one always."""
    kept_C = torch.ones_like(scaled_C, dtype=torch.bool)
    sums_C = probabilities_C.double().cumsum(dim=-1)
    if 0 < sampling.top_k < len(scaled_C):
        kept_C[sampling.top_k :] = False
        sums_C = sums_C / sums_C[sampling.top_k - 1]
        probabilities_C = torch.diff(sums_C, prepend=sums_C.new_zeros(1))
    if sampling.top_p < 1:
        kept_C &= sums_C - probabilities_C <= sampling.top_p
    if sampling.min_p > 0:
        kept_C &= scaled_C >= math.log(sampling.min_p)
    kept_C[0] = True
    return kept_C


def _order(logits_WV: Tensor, n: int) -> Tensor:
    """The ids of the n largest logits of each row, (W, n), falling; the lower id first among equals.

    PyTorch says nothing of equals. So the bits of a logit, made to order as its value does, and the id behind them
    become one whole number, and no two of those are equal.
    """
    bits_WV = (logits_WV + 0.0).view(torch.int32)  # -0 becomes 0
    value_WV = (bits_WV ^ ((bits_WV >> 31) & 0x7FFFFFFF)).long()
    behind_V = torch.arange(logits_WV.shape[1] - 1, -1, -1, device=logits_WV.device)
    keys_WV = (value_WV << 32) | behind_V
    found_Wn = keys_WV.topk(n, dim=-1).values if n < logits_WV.shape[1] else keys_WV.sort(dim=-1, descending=True)[0]
    return logits_WV.shape[1] - 1 - (found_Wn & 0xFFFFFFFF)


def gumbel(seed: int, index: int, ids: Tensor) -> Tensor:
    """Noise of the standard Gumbel distribution, float32, for token ids (int32) at a place of a text.

    A 32-bit hash becomes a number u in (0, 1), and -ln(-ln(1 - u)) is the noise. Large noise, which decides, comes from
    small u, where float32 is finest.
    """
    first, second = _keys(seed, index)
    x = ids ^ first
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x7FEB352D
    x = (x ^ ((x >> 15) & 0x1FFFF)) * _signed(0x846CA68B)  # the constants are those of Wellons' lowbias32 (2018)
    x = (x ^ ((x >> 16) & 0xFFFF) ^ second) * 0x7FEB352D
    x = x ^ ((x >> 15) & 0x1FFFF)
    u = ((x >> 1) & 0x7FFFFFFF).float() * 2.0**-31 + 2.0**-32
    return -torch.log(-torch.log1p(-u.clamp(max=1 - 2.0**-24)))


def _keys(seed: int, index: int) -> tuple[int, int]:
    """Two numbers of 32 bits that mix seed and place: SplitMix64 (Steele et al. 2014) of one after the other."""
    x = seed
    for value in (index, 1):
        x = (x + (value + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        x ^= x >> 31
    return _signed(x & 0xFFFFFFFF), _signed(x >> 32)


def _signed(number: int) -> int:
    """A number of 32 bits as PyTorch's int32 has it."""
    return number - (1 << 32) if number >= 1 << 31 else number
