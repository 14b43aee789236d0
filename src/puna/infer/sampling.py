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
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from puna.core.errors import GenerateError
from puna.infer.requests import NOT_FINITE, Sampling, Token

_FEW = 128
"""Candidates that are ordered first; a nucleus is rarely larger, and to order a vocabulary takes 30 times as long."""
_GROUP = 16
"""Tokens of a group, of which only the largest is looked at first."""
_ROWS = 32
"""Rows whose log-probabilities are computed at once, so that a long prompt's need little memory."""
NONE = -1
"""In place of a token id: the largest logit is not finite."""


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
    allowed: NDArray[np.bool_] | None = None
    """The tokens that may be drawn, (V,); None is all. Where it has none, the row's token is `NONE`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted of one row of logits."""

    draw: Draw | None
    """How to draw its token; None where `token` is already known."""
    token: int
    """A prompt's token, whose log-probability is wanted; otherwise of no meaning."""
    best: int | None
    """As `Request.logprobs`: None wants none, 0 the token's own, n also the n likeliest tokens'."""
    again: bool = False
    """Whether it is about the same row as what is asked before it."""


def answers(logits_WV: Tensor, asked: Sequence[Asked]) -> list[Token]:
    """The tokens that the rows are asked for; the host waits for the device once.

    A token has the id `NONE` where the largest score of its row is not a finite number, and it is drawn or its
    log-probability wanted.

    Args:
        logits_WV: Scores of all tokens, float32.
        asked: One for each row, or several.
    """
    if len(asked) > len(logits_WV):
        logits_WV = logits_WV[[row - 1 for row in accumulate(not wish.again for wish in asked)]]
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
        return [Token(id=token) for token in ids_W.tolist()]
    parts = [(n, rows[at : at + _ROWS]) for n, rows in groups.items() for at in range(0, len(rows), _ROWS)]
    found = [log_probabilities(logits_WV[rows], ids_W[rows], n).flatten() for n, rows in parts]
    numbers = torch.cat([ids_W.double(), *found]).tolist()
    tokens = [Token(id=int(number)) for number in numbers[: len(asked)]]
    place = len(asked)
    for n, rows in parts:
        for row in rows:
            logprob, *best = numbers[place : place + 1 + 2 * n]
            place += 1 + 2 * n
            if math.isnan(logprob) or tokens[row].id == NONE:
                tokens[row] = Token(id=NONE)
                continue
            pairs = zip(map(int, best[:n]), best[n:], strict=True)
            tokens[row] = Token(id=tokens[row].id, logprob=logprob, best=tuple(pairs))
    return tokens


def choose(logits_WV: Tensor, draws: Sequence[Draw]) -> Tensor:
    """One token id per row, (W,), on the logits' device, `NONE` where the largest score is not finite.

    Args:
        logits_WV: Scores of all tokens; they are left as they are.
        draws: One for each row.
    """
    logits_WV = _allowed(_adjusted(logits_WV.float(), draws), draws)
    ids_W = _largest(logits_WV)
    top_W = logits_WV.gather(1, ids_W[:, None])[:, 0]
    drawn = [row for row, draw in enumerate(draws) if draw.sampling.temperature > 0]
    if len(drawn) == len(draws):
        ids_W = _draw(logits_WV, top_W, draws)
    elif drawn:
        ids_W[drawn] = _draw(logits_WV[drawn], top_W[drawn], [draws[row] for row in drawn])
    return torch.where(top_W - top_W == 0, ids_W, NONE)  # false for what is not finite


def checked(ids: list[int]) -> list[int]:
    """The ids that `choose` gave, on the host.

    Raises:
        GenerateError: The largest score of a row is not a finite number.
    """
    if NONE in ids:
        raise not_finite()
    return ids


def not_finite() -> GenerateError:
    """The error of a text whose next token no finite scores choose."""
    return GenerateError(NOT_FINITE, hint="use an older checkpoint, or train again with a lower optim.lr")


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
        one_on_cpu = n == 1 and logits_WV.device.type == "cpu"  # elsewhere the largest may be any of equal ones
        best_Wn = _largest(logits_WV)[:, None] if one_on_cpu else _order(logits_WV, n)
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


def _allowed(logits_WV: Tensor, draws: Sequence[Draw]) -> Tensor:
    """The logits, negative infinity where a token may not be drawn; a copy where there are such.

    Of a row whose largest logit is not finite all are made so: a guide that leaves out just the damaged one would
    otherwise hide the damage.
    """
    rows = [row for row, draw in enumerate(draws) if draw.allowed is not None]
    if not rows:
        return logits_WV
    logits_WV = logits_WV.clone()
    masks_RV = torch.from_numpy(np.stack([draw.allowed for draw in draws if draw.allowed is not None]))
    some_RV = logits_WV[rows]
    top_R = some_RV.gather(1, _largest(some_RV)[:, None])
    logits_WV[rows] = some_RV.masked_fill(~(masks_RV.to(logits_WV.device) & top_R.isfinite()), -math.inf)
    return logits_WV


def _largest(logits_WV: Tensor) -> Tensor:
    """The id of each row's largest logit, the lowest among equals; a NaN counts as the largest."""
    if logits_WV.device.type == "cpu":  # NumPy's is vectorised and takes a twelfth of the time of PyTorch's
        return torch.from_numpy(logits_WV.numpy().argmax(axis=-1))
    return logits_WV.argmax(dim=-1)


def _draw(logits_WV: Tensor, top_W: Tensor, draws: Sequence[Draw]) -> Tensor:
    """A token id of each row, drawn."""
    tiny = torch.finfo(torch.float32).tiny
    temperatures = [max(draw.sampling.temperature, tiny) for draw in draws]
    # Relative to the largest, so that no temperature is too small to divide by.
    scaled_WV = (logits_WV - top_W[:, None]) / torch.tensor(temperatures, device=top_W.device)[:, None]
    ids_W = torch.empty_like(top_W, dtype=torch.int64)
    narrow, all_V = [], torch.arange(scaled_WV.shape[1], device=top_W.device)
    for row, draw in enumerate(draws):
        if draw.sampling.narrows:
            narrow.append(row)
        else:  # row by row, so that a processor's cache holds it
            ids_W[row] = _largest(scaled_WV[row : row + 1] + gumbel([draw], all_V))[0]
    if narrow:
        if len(narrow) < len(draws):
            scaled_WV, draws = scaled_WV[narrow], [draws[row] for row in narrow]
        needed = any(draw.sampling.top_p < 1 for draw in draws)
        ids_W[narrow] = _draw_narrow(scaled_WV, torch.softmax(scaled_WV, dim=-1) if needed else None, draws)
    return ids_W


def _draw_narrow(scaled_WV: Tensor, probabilities_WV: Tensor | None, draws: Sequence[Draw], few: int = _FEW) -> Tensor:
    """The same where top-k, top-p or min-p leave only a part of the tokens; the likeliest few are tried first."""
    V = scaled_WV.shape[1]
    # To know whether a few were enough, a GPU would have to be waited for.
    size = min(few, V) if scaled_WV.device.type == "cpu" else V
    ids_W, enough_W = _of_candidates(scaled_WV, probabilities_WV, _likeliest(scaled_WV, size), draws)
    if size < V and not enough_W.all():
        more = (~enough_W).nonzero()[:, 0].tolist()
        for row in [row for row in more if draws[row].sampling.top_k == 0]:
            ids_W[row] = _draw_wide(
                scaled_WV[row], None if probabilities_WV is None else probabilities_WV[row], draws[row]
            )
        if rows := [row for row in more if draws[row].sampling.top_k]:
            of_rows = None if probabilities_WV is None else probabilities_WV[rows]
            ids_W[rows] = _draw_narrow(scaled_WV[rows], of_rows, [draws[row] for row in rows], 16 * size)
    return ids_W


def _draw_wide(scaled_V: Tensor, probabilities_V: Tensor | None, draw: Draw) -> int:
    """The same of one row of which top-p or min-p leave many tokens, as a model's at the beginning of its training.

    Whoever wins among all tokens and is kept wins among the kept ones, too. So nothing is put in order: the winner is
    kept if what is likelier than it has at most top-p; otherwise it and all that is not likelier are left out, and the
    rest draws again, which happens once in 1 / (1 - top-p) times.
    """
    ids_V = torch.arange(len(scaled_V))
    scores_V = scaled_V + gumbel([draw], ids_V)[0]
    if draw.sampling.min_p > 0:
        scores_V.masked_fill_(scaled_V < math.log(draw.sampling.min_p), -math.inf)
    while True:
        winner = int(_largest(scores_V[None]))
        if draw.sampling.top_p >= 1 or probabilities_V is None:
            return winner
        likelier_V = (scaled_V > scaled_V[winner]) | ((scaled_V == scaled_V[winner]) & (ids_V < winner))
        # NumPy's sum has one order on any number of threads.
        if probabilities_V.numpy()[likelier_V.numpy()].sum(dtype="float64") <= draw.sampling.top_p:
            return winner
        scores_V.masked_fill_(~likelier_V, -math.inf)


def _of_candidates(
    scaled_WV: Tensor, probabilities_WV: Tensor | None, ids_WC: Tensor, draws: Sequence[Draw]
) -> tuple[Tensor, Tensor]:
    """A token of each row drawn from candidates, likeliest first, and whether others could not be drawn, (W,) each."""
    device, C = ids_WC.device, ids_WC.shape[1]
    scaled_WC = scaled_WV.gather(1, ids_WC)
    settings = [draw.sampling for draw in draws]
    top_k_W1 = torch.tensor([min(one.top_k or C, C) for one in settings], device=device)[:, None]
    lowest = [math.log(one.min_p) if one.min_p > 0 else -math.inf for one in settings]
    kept_WC = torch.arange(C, device=device) < top_k_W1
    kept_WC &= scaled_WC >= torch.tensor(lowest, device=device)[:, None]
    if probabilities_WV is not None:
        top_p_W1 = torch.tensor([one.top_p for one in settings], dtype=torch.float64, device=device)[:, None]
        probabilities_WC = probabilities_WV.gather(1, ids_WC).double()
        sums_WC = probabilities_WC.cumsum(dim=-1)
        # Of what top-k leaves, if it is asked for; otherwise the sum is 1 over all tokens.
        whole = torch.tensor([one.top_k == 0 for one in settings], device=device)[:, None]
        total_W1 = torch.where(whole, 1.0, sums_WC.gather(1, top_k_W1 - 1))
        kept_WC &= ((sums_WC - probabilities_WC) <= top_p_W1 * total_W1) | (top_p_W1 >= 1)
    kept_WC[:, 0] = True
    # Where one like the last is kept, others of its kind or after it may have to be.
    enough_W = ~(kept_WC & (scaled_WC == scaled_WC[:, -1:])).any(dim=-1)
    enough_W &= torch.tensor([one.top_k <= C for one in settings], device=device)
    score_WC = (scaled_WC + gumbel(draws, ids_WC)).masked_fill(~kept_WC, -math.inf)
    return ids_WC.gather(1, score_WC.argmax(dim=-1, keepdim=True))[:, 0], enough_W


def _likeliest(scaled_WV: Tensor, n: int) -> Tensor:
    """The ids of the n largest values of each row, (W, n), falling; among those that equal the last, any.

    They lie in the n of many small groups whose largest values are the largest, and only these are put in order.
    """
    W, V = scaled_WV.shape
    groups = V // _GROUP
    if groups <= 2 * n:
        return _order(scaled_WV, n)
    best_Wn = scaled_WV[:, : groups * _GROUP].unflatten(1, (_GROUP, groups)).amax(dim=1).topk(n, dim=-1).indices
    ids_WC = (best_Wn[:, None] + torch.arange(0, groups * _GROUP, groups)[:, None]).flatten(1)
    rest = torch.arange(groups * _GROUP, V)
    ids_WC = torch.cat([ids_WC, rest.expand(W, -1)], dim=1)
    return _order(scaled_WV.gather(1, ids_WC), n, ids_WC)


def _order(values_WC: Tensor, n: int, ids_WC: Tensor | None = None) -> Tensor:
    """The ids of the n largest values of each row, (W, n), falling; the lower id first among equals.

    PyTorch says nothing of equals. So the bits of a value, made to order as it does, and the id behind them become one
    whole number, and no two of those are equal.

    Args:
        values_WC: Float32.
        n: At most C.
        ids_WC: The id of each value; None where it is its place.
    """
    C = values_WC.shape[1]
    if ids_WC is None:
        ids_WC = torch.arange(C, device=values_WC.device)
    bits_WC = (values_WC + 0.0).view(torch.int32)  # -0 becomes 0
    ordered_WC = (bits_WC ^ ((bits_WC >> 31) & 0x7FFFFFFF)).long()
    keys_WC = (ordered_WC << 32) | (0x7FFFFFFF - ids_WC)
    found_Wn = keys_WC.topk(n, dim=-1).values if n < C else keys_WC.sort(dim=-1, descending=True)[0]
    return 0x7FFFFFFF - (found_Wn & 0xFFFFFFFF)


def gumbel(draws: Sequence[Draw], ids: Tensor) -> Tensor:
    """Noise of the standard Gumbel distribution, float32, for token ids: (W, C), or (C,) where all rows have the same.

    A 32-bit hash becomes a number u in (0, 1), and -ln(-ln(1 - u)) is the noise. Large noise, which decides, comes from
    small u, where float32 is finest.
    """
    keys = torch.tensor([_keys(draw.seed, draw.index) for draw in draws], dtype=torch.int32, device=ids.device)
    x = ids.int() ^ keys[:, :1]
    # Wellons' lowbias32 (2018), with a second key in its middle; PyTorch shifts signs in, hence the masks.
    x ^= (x >> 16) & 0xFFFF
    x *= 0x7FEB352D
    x ^= (x >> 15) & 0x1FFFF
    x ^= keys[:, 1:]
    x *= 0x846CA68B - 2**32
    x ^= (x >> 16) & 0xFFFF
    u = ((x >> 1) & 0x7FFFFFFF).float().mul_(2.0**-31).add_(2.0**-32).clamp_(max=1 - 2.0**-24)
    return u.neg_().log1p_().neg_().log_().neg_()


def _keys(seed: int, index: int) -> tuple[int, int]:
    """Two numbers of 32 bits that mix seed and place: SplitMix64 (Steele et al. 2014) of one after the other."""
    x = seed
    for value in (index, 1):
        x = (x + (value + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        x ^= x >> 31
    low, high = x & 0xFFFFFFFF, x >> 32
    return low - (low >> 31 << 32), high - (high >> 31 << 32)  # as int32 has them
