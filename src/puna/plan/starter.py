"""A shape and a length for a first run, from the amount of text and the rate of the machine.

Hoffmann et al. (2022, "Chinchilla", table 3) train on 20 tokens for each parameter. Muennighoff et al. (2023) find that
up to four epochs of the same text are worth nearly as much as new text. So text of U tokens is enough for U / 5
parameters. A machine that computes R FLOP in the time of a first run is enough for sqrt(R / 120) parameters: 6 FLOPs
for each parameter and token.
"""

import math
from dataclasses import dataclass

from puna.config.model import ModelConfig
from puna.plan.count import parameters

TOKENS_PER_PARAMETER = 20
EPOCHS = 4.0
"""Times that a text may be read before it teaches much less (Muennighoff et al. 2023, section 5)."""
_PLANNED = 3.5
"""Times that a first run reads the text: fewer, because the number of its tokens is estimated."""
FIRST_RUN_S = 3600.0
"""Seconds of a first run, at most about: our choice."""
UTILISATION = 0.4
"""Part of the peak rate that a small model takes: our choice, below what `puna plan` expects of large ones."""
_ROUND, _FEWER_TOKENS = 1.25, 2.0
"""A shape may have these many times the parameters that the machine and the text are enough for. Twice the parameters
are 10 tokens for each, which costs little: the loss is flat about its best (Hoffmann et al. 2022, figure 3)."""
_STEPS, _FEW_STEPS = 4000, 1000
"""Optimizer steps of a first run, at least about, and those below which its batches become smaller than four contexts:
our choice; the demo has 1,220."""

SHAPES = (
    (64, 2, 2, 512, 256),
    (96, 3, 3, 1024, 256),
    (128, 4, 4, 2048, 256),
    (192, 4, 3, 4096, 256),
    (256, 6, 4, 8192, 512),
    (384, 8, 6, 8192, 512),
    (512, 8, 8, 16_384, 1024),
    (768, 12, 12, 32_000, 1024),
    (1024, 24, 16, 32_000, 2048),
    (2048, 24, 16, 32_000, 2048),
    (4096, 32, 32, 32_000, 2048),
)
"""Width, layers, heads, vocabulary and positions: the demo's is the fourth, LLaMA 7B's the last; GPT-2's and GPT-2
medium's (Radford et al. 2019, table 2) are the eighth and ninth; those between are ours."""

_BYTES_PER_TOKEN = {512: 2.0, 1024: 2.4, 2048: 2.8, 4096: 3.2, 8192: 3.5, 16_384: 3.8, 32_000: 4.1}
"""Bytes of English prose for each token of a vocabulary: 4.1 with 32,000 as bench/results/train_tokenizer_2026-11-30
measured, the smaller ones estimated from it. Code and other scripts have fewer or more."""


@dataclass(frozen=True, kw_only=True)
class Starter:
    """The shape and length of a first run."""

    model: ModelConfig
    parameters: int
    available_tokens: int
    """Tokens of the text, estimated."""
    tokens: int
    """Tokens to train on, in whole batches."""
    batch_tokens: int
    micro_batch_tokens: int
    lr: float
    steps: int
    warmup_steps: int
    bound: str
    """What the size follows from: `text`, `machine`, or `least`, the smallest shape, for which there is little text."""

    @property
    def epochs(self) -> float:
        """How often the run reads the text."""
        return self.tokens / max(1, self.available_tokens)


def starter(text_bytes: int, flops: float, *, micro_batch_tokens: int) -> Starter:
    """A first run on this much text.

    Args:
        text_bytes: Bytes of the training text, without what is held out.
        flops: The machine's peak rate, in FLOP/s.
        micro_batch_tokens: Tokens of a pass, at most.
    """
    from_machine = math.sqrt(flops * UTILISATION * FIRST_RUN_S / (6 * TOKENS_PER_PARAMETER))
    chosen = _shape(SHAPES[0])
    bound = "text"
    for shape in SHAPES:
        model = _shape(shape)
        from_text = _FEWER_TOKENS * _tokens(text_bytes, model) * _PLANNED / TOKENS_PER_PARAMETER
        bound = "machine" if _ROUND * from_machine < from_text else "text"
        if parameters(model).total > min(_ROUND * from_machine, from_text):
            break
        chosen = model
    count, available = parameters(chosen).total, _tokens(text_bytes, chosen)
    wanted = min(TOKENS_PER_PARAMETER * count, round(_PLANNED * available))
    if _FEWER_TOKENS * wanted < TOKENS_PER_PARAMETER * count:
        bound = "least"
    least = min(4 * chosen.context, max(chosen.context, _power_of_two(wanted // _FEW_STEPS, 1, 1 << 20)))
    batch = _power_of_two(wanted // _STEPS, least, 1 << 20)
    steps = max(2, wanted // batch)
    return Starter(
        model=chosen,
        parameters=count,
        available_tokens=available,
        tokens=steps * batch,
        batch_tokens=batch,
        micro_batch_tokens=min(batch, _power_of_two(micro_batch_tokens, chosen.context, 1 << 20)),
        lr=_learning_rate(count),
        steps=steps,
        warmup_steps=min(2000, max(1, steps // 25)),
        bound=bound,
    )


def _shape(shape: tuple[int, int, int, int, int]) -> ModelConfig:
    dim, n_layers, n_heads, vocab_size, context = shape
    return ModelConfig(dim=dim, n_layers=n_layers, n_heads=n_heads, vocab_size=vocab_size, context=context)


def _tokens(text_bytes: int, model: ModelConfig) -> int:
    return round(text_bytes / _BYTES_PER_TOKEN[model.vocab_size])


def _power_of_two(number: int, least: int, most: int) -> int:
    """The largest power of two that is not above `number`, within bounds that are powers of two themselves."""
    return min(most, max(least, 1 << max(0, number.bit_length() - 1)))


def _learning_rate(count: int) -> float:
    """Between the demo's 3e-3 for 3.3M parameters and LLaMA 7B's 3e-4, straight in logarithms; one digit."""
    rate = 3e-4 * (6.74e9 / max(count, 3_300_000)) ** (math.log(10) / math.log(6.74e9 / 3.3e6))
    return float(f"{max(rate, 3e-4):.0e}")
