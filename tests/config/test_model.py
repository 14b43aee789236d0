"""The shape of the decoder: what follows from what."""

import pytest

from puna.config.model import ModelConfig, paper_ffn_dim


def test_shapes_follow_width_and_heads_by_the_papers_rule_unless_they_are_given() -> None:
    small = ModelConfig(dim=192, n_heads=3)
    assert (small.n_kv_heads, small.head_dim, small.ffn_dim) == (3, 64, 512)
    given = ModelConfig(dim=256, n_heads=4, n_kv_heads=2, head_dim=32, ffn_dim=100)
    assert (given.n_kv_heads, given.head_dim, given.ffn_dim) == (2, 32, 100)


@pytest.mark.parametrize(("dim", "ffn_dim"), [(4096, 11008), (5120, 13824), (6656, 17920), (8192, 22016)])
def test_papers_rule_gives_the_widths_of_its_four_models(dim: int, ffn_dim: int) -> None:
    """The released params.json of LLaMA 7B, 13B, 33B and 65B, read by its model.py."""
    hidden = int(2 * (4 * dim) / 3)
    assert paper_ffn_dim(dim) == 256 * ((hidden + 256 - 1) // 256) == ffn_dim
