"""Meta's `params.json`: the decoder that it describes, and the content with which Meta's code builds a decoder."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.config.model import ModelConfig, RopeScaling
from puna.core.errors import FormatError
from puna.formats.containers.json_object import read_json_object

SCALED_ROPE = RopeScaling(kind="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192)
"""What `use_scaled_rope` stands for: constants in the code of Llama 3.1 (llama-models 0.3.0, `apply_scaling`)."""

_SIZES = {"dim", "n_layers", "n_heads", "n_kv_heads", "multiple_of", "max_seq_len", "max_batch_size"}
_NUMBERS = {"ffn_dim_multiplier", "norm_eps", "rope_theta"}
_MULTIPLE_OF, _NORM_EPS, _ROPE_THETA = 256, 1e-5, 10_000.0
"""LLaMA's defaults; the code of LLaMA 1 and 2 has a fixed base of the rotary frequencies."""


@dataclass(frozen=True)
class Params:
    """The values of a `params.json`; None if it does not state one."""

    dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    ffn_dim: int
    vocab_size: int | None
    """None where it is -1, which means the tokenizer's number of tokens."""
    context: int | None
    norm_eps: float | None
    rope_theta: float | None
    scaled_rope: bool


def ffn_dim(dim: int, multiple_of: int, multiplier: float | None) -> int:
    """The feed-forward width that Meta's code makes: 2/3 of 4 dim, times `multiplier`, up to a multiple."""
    width = int(2 * (4 * dim) / 3)
    if multiplier is not None:
        width = int(multiplier * width)
    return multiple_of * ((width + multiple_of - 1) // multiple_of)


def solve_ffn(dim: int, width: int) -> tuple[int, float | None]:
    """`multiple_of` and `ffn_dim_multiplier` from which Meta's code computes this feed-forward width.

    There is always a pair. `multiple_of` is 256 if possible; a multiplier, which LLaMA 1 does not have, is used only
    where the width is less than 2/3 of 4 dim, because rounding goes up.
    """
    fitting = [_MULTIPLE_OF, *_divisors(width)]
    for multiple_of in fitting:
        if ffn_dim(dim, multiple_of, None) == width:
            return multiple_of, None
    multiple_of = _MULTIPLE_OF if width % _MULTIPLE_OF == 0 else width
    # With all 17 digits the product is less than 1 below the width, so rounding up gives the width; but a width of 1
    # is its own multiple, and the next larger number is needed where the product is a hair below 1.
    share = width / ffn_dim(dim, 1, None)
    candidates = [*(round(share, digits) for digits in range(1, 18)), math.nextafter(share, math.inf)]
    return multiple_of, next(ratio for ratio in candidates if ffn_dim(dim, multiple_of, ratio) == width)


def params_of(config: ModelConfig, *, n_kv_heads: int, llama3: bool) -> dict[str, Any]:
    """The content of `params.json`.

    Args:
        config: A decoder that the format can express.
        n_kv_heads: Key heads that the files hold in all, repeated ones included.
        llama3: Whether it is for the code of LLaMA 3, whose default for `rope_theta` is 500,000. The code of LLaMA 1
            and 2 refuses fields that it does not know, so what is at its default there is left out.
    """
    multiple_of, multiplier = solve_ffn(config.dim, config.ffn_dim)
    params: dict[str, Any] = {
        "dim": config.dim,
        "multiple_of": multiple_of,
        "n_heads": config.n_heads,
        "n_layers": config.n_layers,
        "norm_eps": config.norm_eps,
        "vocab_size": config.vocab_size,
    }
    if multiplier is not None:
        params["ffn_dim_multiplier"] = multiplier
    if n_kv_heads != config.n_heads:
        params["n_kv_heads"] = n_kv_heads
    if llama3 or config.rope_theta != _ROPE_THETA:
        params["rope_theta"] = config.rope_theta
    if config.rope_scaling is not None:
        params["use_scaled_rope"] = True
    return params


def read_params(path: Path) -> Params:
    """Read a `params.json`.

    Raises:
        FormatError: The file is damaged, lacks a field, or has one that LLaMA does not have.
    """
    found = {key: value for key, value in read_json_object(path).items() if value is not None}
    for key, value in found.items():
        _check(path, key, value)
    if lacking := [key for key in ("dim", "n_layers", "n_heads") if key not in found]:
        raise FormatError(f"{path}: has no {lacking[0]}")
    vocab_size = found.get("vocab_size", -1)
    try:
        width = ffn_dim(found["dim"], found.get("multiple_of", _MULTIPLE_OF), found.get("ffn_dim_multiplier"))
    except OverflowError:
        raise FormatError(f"{path}: ffn_dim_multiplier = {found['ffn_dim_multiplier']} is too large") from None
    return Params(
        dim=found["dim"],
        n_layers=found["n_layers"],
        n_heads=found["n_heads"],
        n_kv_heads=found.get("n_kv_heads", found["n_heads"]),
        ffn_dim=width,
        vocab_size=None if vocab_size == -1 else vocab_size,
        context=found.get("max_seq_len"),
        norm_eps=found.get("norm_eps"),
        rope_theta=found.get("rope_theta"),
        scaled_rope=found.get("use_scaled_rope", False),
    )


def unsaid(params: Params) -> tuple[dict[str, float], list[str]]:
    """LLaMA 1's and 2's values for what `params.json` does not state, by our names, and a note on each."""
    defaults: dict[str, float] = {"context": 2048, "norm_eps": _NORM_EPS, "rope_theta": _ROPE_THETA}
    values = {name: value for name, value in defaults.items() if getattr(params, name) is None}
    return values, [f"params.json does not say {name}; {value:g} is assumed" for name, value in values.items()]


def _check(path: Path, key: str, value: Any) -> None:
    """Refuse a field of the wrong type, or an unknown one, since it may change what the model computes."""
    if key == "use_scaled_rope":
        expected, fits = "true or false", isinstance(value, bool)
    elif key in _SIZES or key == "vocab_size":
        low = -1 if key == "vocab_size" else 1
        expected, fits = "a whole number from 1 to 2^31 - 1", type(value) is int and low <= value < 2**31 and value != 0
    elif key in _NUMBERS:
        expected, fits = "a positive number", type(value) in (int, float) and 0 < value < math.inf
    else:
        raise FormatError(f"{path}: has {key[:80]!r}, which no LLaMA of text alone has in this format")
    if not fits:
        raise FormatError(f"{path}: {key} is {str(value)[:80]}, expected {expected}")


def _divisors(number: int) -> list[int]:
    small = [divisor for divisor in range(1, math.isqrt(number) + 1) if number % divisor == 0]
    return sorted({*small, *(number // divisor for divisor in small)})
