"""What a conversion changed, in each weight and in the model's outputs."""

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from puna.core.errors import ExportError
from puna.core.schema.export import ExportOutputs, ExportWeights, Perplexity, QuantizedWeights
from puna.formats.checkpoint import Checkpoint
from puna.formats.containers.dtypes import FLOATS
from puna.formats.streamed import last_states, logits_by_row
from puna.model.files import NOT_ARITHMETIC
from puna.ops.bits import same_bits

_LARGEST_LOSS = 700.0
"""Nats per token: the largest mean loss whose exponential fits a float."""


def compare_configs(source: Checkpoint, written: Checkpoint) -> None:
    """Refuse a conversion to another decoder.

    Raises:
        ExportError: A field that the arithmetic uses differs.
    """
    ours, theirs = source.config.model_dump(), written.config.model_dump()
    for name, value in ours.items():
        # Some formats store these as float32.
        same = math.isclose(value, theirs[name], rel_tol=1e-7) if isinstance(value, float) else value == theirs[name]
        if name not in NOT_ARITHMETIC and not same:
            raise ExportError(f"the {written.format} files: says {name} = {theirs[name]}, but the model has {value}")


def compare_weights(source: Checkpoint, written: Checkpoint, advance: Callable[[int], None]) -> ExportWeights:
    """Read every weight of both; says how many are the same bits, rounded, or quantized and how far off.

    Args:
        source: What was converted.
        written: The conversion, opened again.
        advance: Called with the bytes compared.

    Raises:
        ExportError: A weight is missing, is too many, or is none of these.
    """
    written.check_complete()
    identical = 0
    converted: dict[str, int] = {}
    errors: dict[str, list[tuple[float, float]]] = {}
    for name in source.weights:
        a, b, kind = source.tensor(name), written.tensor(name), written.stored[name].dtype
        if a.shape != b.shape:
            raise ExportError(
                f"the {written.format} files: {name} is {list(b.shape)}, but the model has {list(a.shape)}"
            )
        if a.dtype == b.dtype and same_bits(a, b):
            identical += 1
        elif kind not in FLOATS:
            off = a.float() - b
            errors.setdefault(kind, []).append((off.square().sum().item(), a.float().square().sum().item()))
        elif a.dtype != b.dtype and same_bits(a.to(b.dtype), b):
            converted[kind] = converted.get(kind, 0) + 1
        else:
            raise ExportError(f"the {written.format} files: {name} has other values than the model")
        advance(a.nbytes)
    quantized = {
        kind: QuantizedWeights(
            tensors=len(sums),
            relative_rms_error=math.sqrt(sum(off for off, _ in sums) / max(sum(all_ for _, all_ in sums), 1e-300)),
        )
        for kind, sums in errors.items()
    }
    return ExportWeights(tensors=len(source.weights), identical=identical, converted=converted, quantized=quantized)


def compare_outputs(
    source: Checkpoint, written: Checkpoint, tokens_BT: Tensor, text: str, advance: Callable[[int], None]
) -> ExportOutputs:
    """Run both models in float32 by our own decoder on the same tokens.

    Args:
        source: What was converted.
        written: The conversion, opened again.
        tokens_BT: Token ids.
        text: Where they come from.
        advance: Called with the number of blocks done.

    Raises:
        ExportError: A logit is not finite.
    """
    states = [last_states(checkpoint, tokens_BT, advance) for checkpoint in (source, written)]
    largest, kl, same = 0.0, 0.0, 0
    losses = [0.0, 0.0]
    rows = zip(tokens_BT, logits_by_row(source, states[0]), logits_by_row(written, states[1]), strict=True)
    for tokens_T, p_TV, q_TV in rows:
        largest = max(largest, (p_TV - q_TV).abs().max().item())
        same += int((p_TV.argmax(-1) == q_TV.argmax(-1)).sum())
        log_p_TV, log_q_TV = F.log_softmax(p_TV, -1), F.log_softmax(q_TV, -1)
        kl += F.kl_div(log_q_TV, log_p_TV, reduction="sum", log_target=True).item()
        for index, log_TV in enumerate((log_p_TV, log_q_TV)):
            losses[index] += F.nll_loss(log_TV[:-1], tokens_T[1:], reduction="sum").item()
    if not math.isfinite(sum(losses)):
        raise ExportError("the model's logits are not finite on this text, so outputs cannot be compared")
    scored = tokens_BT.shape[0] * (tokens_BT.shape[1] - 1)
    means = [loss / scored for loss in losses]
    fits = max(means) < _LARGEST_LOSS
    return ExportOutputs(
        tokens=tokens_BT.numel(),
        max_abs_difference=largest,
        mean_kl=kl / tokens_BT.numel(),
        same_most_likely=same / tokens_BT.numel(),
        perplexity=Perplexity(source=math.exp(means[0]), written=math.exp(means[1])) if fits else None,
        text=text,
    )
