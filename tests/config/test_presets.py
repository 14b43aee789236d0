"""The shipped presets are the paper's models, number by number.

Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language Models", arXiv:2302.13971. What the paper does not
give is from the `params.json` that was released with the weights (norm_eps; multiple_of = 256, and so the
feed-forward width) and from the released tokenizer.model (32,000 pieces).
"""

from dataclasses import dataclass

import pytest

from puna.config.load import load_recipe, shipped_recipes
from puna.config.recipe import Recipe


@dataclass(frozen=True)
class Row:
    """One row of table 2 with the two numbers of params.json."""

    dim: int
    heads: int
    layers: int
    lr: float
    tokens: int
    ffn: int
    norm_eps: float


TABLE_2 = {
    # name        dim  heads layers lr      tokens             ffn   eps
    "llama-7b": Row(4096, 32, 32, 3.0e-4, 1_000_000_000_000, 11008, 1e-6),
    "llama-13b": Row(5120, 40, 40, 3.0e-4, 1_000_000_000_000, 13824, 1e-6),
    "llama-33b": Row(6656, 52, 60, 1.5e-4, 1_400_000_000_000, 17920, 1e-6),
    "llama-65b": Row(8192, 64, 80, 1.5e-4, 1_400_000_000_000, 22016, 1e-5),
}


@pytest.fixture(params=TABLE_2, scope="module")
def preset(request: pytest.FixtureRequest) -> tuple[Recipe, Row]:
    """A shipped preset and its row of the table."""
    return load_recipe(request.param).recipe, TABLE_2[request.param]


def test_every_size_of_the_paper_ships() -> None:
    assert {name for name in shipped_recipes() if name.startswith("llama-")} == set(TABLE_2)


def test_shape_is_table_2(preset: tuple[Recipe, Row]) -> None:
    model, row = preset[0].model, preset[1]
    assert (model.dim, model.n_heads, model.n_layers) == (row.dim, row.heads, row.layers)


def test_training_is_table_2(preset: tuple[Recipe, Row]) -> None:
    recipe, row = preset
    assert recipe.optim.lr == row.lr
    assert recipe.train.tokens == row.tokens
    assert recipe.train.batch_tokens == 2048 * 2048  # "4M"


def test_heads_are_not_grouped_and_are_128_wide(preset: tuple[Recipe, Row]) -> None:
    model = preset[0].model
    assert model.n_kv_heads == model.n_heads
    assert model.head_dim == 128


def test_feed_forward_is_two_thirds_of_four_widths_rounded_up_to_256(preset: tuple[Recipe, Row]) -> None:
    """Section 2.2: "a dimension of 2/3 4d instead of 4d"; the rounding is params.json's multiple_of."""
    model, row = preset[0].model, preset[1]
    assert model.ffn_dim == row.ffn == -(-int(2 * 4 * model.dim / 3) // 256) * 256


def test_what_the_released_files_fix(preset: tuple[Recipe, Row]) -> None:
    model, row = preset[0].model, preset[1]
    assert model.norm_eps == row.norm_eps  # params.json: 1e-05 for 65B, 1e-06 for the others
    assert model.vocab_size == 32_000  # tokenizer.model
    assert model.context == 2048  # the released model's maximum length
    assert model.rope_theta == 10_000.0  # Su et al. 2021, which section 2.2 cites
    assert not model.tie_embeddings


def test_optimizer_is_section_2_3(preset: tuple[Recipe, Row]) -> None:
    """AdamW, beta1 0.9, beta2 0.95, cosine to 10 %, weight decay 0.1, clipping at 1.0, 2,000 warm-up steps."""
    optim = preset[0].optim
    assert (optim.beta1, optim.beta2) == (0.9, 0.95)
    assert optim.final_lr_ratio == 0.1
    assert optim.weight_decay == 0.1
    assert optim.clip_norm == 1.0
    assert optim.warmup_steps == 2000


def test_carbon_factors_are_section_6(preset: tuple[Recipe, Row]) -> None:
    """PUE 1.1 and the US average of 0.385 kg CO2eq per kWh."""
    energy = preset[0].energy
    assert (energy.pue, energy.carbon_intensity) == (1.1, 0.385)
