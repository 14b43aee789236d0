from pathlib import Path

import pytest
import torch

from puna.config.model import ModelConfig, RopeScaling
from puna.core.errors import FormatError
from puna.formats.frequencies import check_frequencies, is_frequencies
from puna.model.llama import rope_frequencies

FILE = Path("model.bin")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rope.freqs", True), ("layers.3.attention.inner_attention.rope.freqs", True), ("inv_freq", True),
        ("model.layers.3.self_attn.rotary_emb.inv_freq", True), ("rotary_emb.inv_freq", True),
        ("rope.freqs.weight", False), ("my_inv_freq", False), ("rope.freqs_cis", False), ("xrope.freqs", False),
    ],
)  # fmt: skip
def test_frequencies_are_known_by_the_end_of_their_name(name: str, expected: bool) -> None:
    assert is_frequencies(name) == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("theta", [1e4, 5e5, 1e6, 1e8])
@pytest.mark.parametrize("head_dim", [2, 64, 128])
def test_rounded_frequencies_are_those_of_the_decoder(dtype: torch.dtype, theta: float, head_dim: int) -> None:
    scaling = RopeScaling(kind="llama3", factor=8.0)
    config = ModelConfig(dim=2 * head_dim, n_heads=2, n_kv_heads=2, rope_theta=theta, rope_scaling=scaling)
    exact = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    check_frequencies(FILE, "rope.freqs", exact.to(dtype), config)
    check_frequencies(FILE, "rope.freqs", rope_frequencies(head_dim, theta, scaling)[None].to(dtype), config)
    if head_dim > 2:
        other = (theta * 1.3) ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        with pytest.raises(FormatError, match=r"model.bin: rope.freqs holds other rotary frequencies .* about"):
            check_frequencies(FILE, "rope.freqs", other.to(dtype), config)


@pytest.mark.parametrize("found", [torch.ones(3), torch.ones(4, dtype=torch.int64), torch.full((4,), torch.nan)])
def test_what_cannot_be_frequencies_is_refused(found: torch.Tensor) -> None:
    with pytest.raises(FormatError, match=r"a head has 4 pairs|of about nan"):
        check_frequencies(FILE, "rope.freqs", found, ModelConfig(dim=16, n_heads=2, n_kv_heads=2))
