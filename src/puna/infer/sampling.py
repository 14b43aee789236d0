"""The next token from its logits."""

import torch
from torch import Tensor

from puna.core.errors import GenerateError


def sample(logits_BV: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    """One token id per row, (B,).

    Args:
        logits_BV: Scores of all tokens.
        temperature: Divides the logits; 0 takes the largest, and the lowest id among equals.
        top_p: Only the likeliest tokens whose probabilities before them sum to at most this are drawn (nucleus
            sampling, Holtzman et al. 2020; the boundary as in Meta's released generation code).
        generator: Draws the numbers, on the CPU, so that a seed means the same on every device.

    Raises:
        GenerateError: The largest score of a row is not a finite number.
    """
    if not logits_BV.amax(dim=-1).isfinite().all():
        raise GenerateError(
            "the model's scores for the next token are not finite numbers, so its weights are damaged or too large",
            hint="use an older checkpoint, or train again with a lower optim.lr",
        )
    if temperature == 0:
        return logits_BV.argmax(dim=-1)
    # Relative to the largest, so that no temperature is too small to divide by.
    relative_BV = (logits_BV - logits_BV.amax(dim=-1, keepdim=True)).float().cpu()
    probabilities_BV = torch.softmax(relative_BV / temperature, dim=-1)
    sorted_BV, ids_BV = probabilities_BV.sort(dim=-1, descending=True, stable=True)
    before_BV = sorted_BV.cumsum(dim=-1) - sorted_BV
    # The likeliest token stays for any top_p.
    outside_BV = before_BV > top_p
    outside_BV[:, 0] = False
    choice_B1 = torch.multinomial(sorted_BV.masked_fill(outside_BV, 0.0), 1, generator=generator)
    return ids_BV.gather(1, choice_B1)[:, 0].to(logits_BV.device)
