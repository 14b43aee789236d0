"""The shipped presets are the published models, number by number; tests/plan/test_count.py has their parameters.

LLaMA: Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language Models", arXiv:2302.13971. What the paper
does not give is from the `params.json` that was released with the weights (norm_eps; multiple_of = 256, and so the
feed-forward width) and from the released tokenizer.model (32,000 pieces).

The other models' sources stand at their tables.
"""

from dataclasses import dataclass

import pytest

from puna.config.load import load_recipe, shipped_recipes
from puna.config.model import RopeScaling
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
    assert {name for name in shipped_recipes() if name.startswith("llama-")} - {"llama-i"} == set(TABLE_2)


PROFILES = {
    "llama": ([67.0, 15.0, 4.5, 4.5, 4.5, 2.5, 2.0], 1.4e12),
    "redpajama-v1": ([878, 175, 59, 24, 26, 28, 20], 1.2e12),
    "openlm": ([72.6, 21.1, 3.1, 1.7, 1.6], 1.6e12),
}
"""Shares and tokens: LLaMA's table 1, RedPajama's README, OpenLM's announcement."""
SEVEN = ["common_crawl", "c4", "github", "wikipedia", "books", "arxiv", "stackexchange"]


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_of_data_have_their_published_shares(name: str) -> None:
    recipe = load_recipe(name).recipe
    assert (list(recipe.mixture.values()), recipe.train.tokens) == PROFILES[name]
    assert list(recipe.data.sources) == (SEVEN if name != "openlm" else list(recipe.mixture))


def test_llama_reads_its_sources_as_often_as_table_1_says() -> None:
    epochs = load_recipe("llama").recipe.max_epochs
    assert [epochs[name] for name in SEVEN] == [1.10, 1.06, 0.64, 2.45, 2.23, 1.06, 1.03]


def test_every_other_recipe_is_in_a_table_or_the_demo() -> None:
    tables = set(TABLE_2) | set(OPENLM) | set(OPENLM_TRAINING) | set(LATER) | {"demo", "demo-smoke"} | set(PROFILES)
    # tests/config/test_tuning_presets.py has those of instruction tuning
    assert {name for name in shipped_recipes() if load_recipe(name).recipe.finetune is None} == tables
    assert set(OPENLM) == set(OPENLM_TRAINING)


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


# OpenLM, github.com/mlfoundations/open_lm at 9bb92ef.
# open_lm/model_configs: hidden_dim, n_layers, n_heads. Its 411M is the file open_lm_410m.json.
OPENLM = {
    "open_lm_11m": (96, 12, 12),
    "open_lm_25m": (192, 12, 12),
    "open_lm_87m": (488, 12, 12),
    "open_lm_160m": (768, 12, 12),
    "open_lm_411m": (1024, 24, 16),
    "open_lm_830m": (1536, 24, 16),
    "open_lm_1b": (2048, 24, 16),
    "open_lm_3b": (2560, 32, 32),
    "open_lm_7b": (4096, 32, 32),
}
# Peak rate, rate at the end, warm-up steps, tokens, sequences per batch.
# 1B and 7B: the announcement of September 2023 and scripts/train_example.sh; 3B: the rate in the README's example;
# the others: MOE.md, one node (256 sequences) up to 160M, two for 411M, four for 830M.
OPENLM_TRAINING = {
    "open_lm_11m": (5e-4, 1e-5, 200, 20e9, 256),
    "open_lm_25m": (5e-4, 1e-5, 200, 20e9, 256),
    "open_lm_87m": (5e-4, 1e-5, 200, 20e9, 256),
    "open_lm_160m": (5e-4, 1e-5, 200, 20e9, 256),
    "open_lm_411m": (5e-4, 1e-5, 200, 20e9, 512),
    "open_lm_830m": (5e-4, 1e-5, 200, 20e9, 1024),
    "open_lm_1b": (1e-3, 3e-5, 2000, 1.6e12, 1024),  # "2M"
    "open_lm_3b": (3e-4, 3e-5, 2000, 1.6e12, 1024),
    "open_lm_7b": (3e-4, 3e-5, 2000, 1.25e12, 2048),  # "4M"
}


@pytest.mark.parametrize("name", OPENLM)
def test_openlm_presets_have_its_shapes(name: str) -> None:
    model = load_recipe(name).recipe.model
    assert (model.dim, model.n_layers, model.n_heads) == OPENLM[name]
    assert model.n_kv_heads == model.n_heads
    # open_lm/model.py: dim // n_heads, which leaves 8 of the 488 of its 87M without a head
    assert model.head_dim == model.dim // model.n_heads
    assert model.rotary == "position"
    # open_lm/model.py: int(2 * 4 * dim / 3), rounded up to a multiple of 256; Params.norm_eps
    assert model.ffn_dim == -(-int(2 * 4 * model.dim / 3) // 256) * 256
    assert (model.norm, model.norm_eps, model.qk_norm, model.init) == ("layer", 1e-5, False, "openlm")
    # every file of model_configs
    assert (model.vocab_size, model.context, model.tie_embeddings) == (50432, 2048, False)
    assert (model.rope_theta, model.rope_scaling) == (10_000.0, None)


@pytest.mark.parametrize("name", OPENLM_TRAINING)
def test_openlm_presets_are_trained_as_it_says(name: str) -> None:
    recipe = load_recipe(name).recipe
    train, optim = recipe.train, recipe.optim
    found = (optim.lr, optim.lr * optim.final_lr_ratio, optim.warmup_steps, train.tokens, train.batch_tokens // 2048)
    assert found == pytest.approx(OPENLM_TRAINING[name])
    # params.py: AdamW, beta1 0.9, eps 1e-8, cosine, no z-loss; scripts/train_example.sh: beta2 0.95, decay 0.1, clip 1
    assert (optim.name, optim.schedule, optim.eps, train.z_loss) == ("adamw", "cosine", 1e-8, 0.0)
    assert (optim.beta1, optim.beta2, optim.weight_decay, optim.clip_norm) == (0.9, 0.95, 0.1, 1.0)


@dataclass(frozen=True)
class Later:
    """A model after LLaMA: its shape and its training."""

    shape: tuple[int, int, int, int, int]
    """dim, layers, heads, key heads, feed-forward width."""
    context: int
    theta: float
    norm_eps: float
    vocab: int
    lr: float
    tokens: float
    batch: int = 2**22
    adam_eps: float = 1e-8
    document_mask: bool = False


LATER = {
    # OpenLLaMA (Geng and Liu 2023): LLaMA's hyperparameters. 3B's shape: EasyLM, LLAMA_STANDARD_CONFIGS["3b"];
    # 13B's rate and batch: young-geng in github.com/openlm-research/open_llama/issues/74.
    "openllama-3b": Later((3200, 26, 32, 32, 8640), 2048, 1e4, 1e-6, 32000, 3e-4, 1e12),
    "openllama-7b": Later((4096, 32, 32, 32, 11008), 2048, 1e4, 1e-6, 32000, 3e-4, 1e12),
    "openllama-13b": Later((5120, 40, 40, 40, 13824), 2048, 1e4, 1e-6, 32000, 1.5e-4, 1e12, batch=2**21),
    # Llama 2 (arXiv:2307.09288): table 1 (context, rate, tokens, "4M"), section 2.2 (eps 1e-5); params.json.
    "llama2-7b": Later((4096, 32, 32, 32, 11008), 4096, 1e4, 1e-5, 32000, 3e-4, 2e12, adam_eps=1e-5),
    "llama2-13b": Later((5120, 40, 40, 40, 13824), 4096, 1e4, 1e-5, 32000, 3e-4, 2e12, adam_eps=1e-5),
    "llama2-70b": Later((8192, 80, 64, 8, 28672), 4096, 1e4, 1e-5, 32000, 1.5e-4, 2e12, adam_eps=1e-5),
    # Llama 3 (arXiv:2407.21783): table 3 (shape, rate, theta), section 3.2 (document mask), params.json.
    "llama3-8b": Later((4096, 32, 32, 8, 14336), 8192, 5e5, 1e-5, 128256, 3e-4, 15e12, document_mask=True),
    "llama3-70b": Later((8192, 80, 64, 8, 28672), 8192, 5e5, 1e-5, 128256, 1.5e-4, 15e12, document_mask=True),
    "llama3.1-8b": Later((4096, 32, 32, 8, 14336), 131072, 5e5, 1e-5, 128256, 3e-4, 15e12, document_mask=True),
}


@pytest.mark.parametrize("name", LATER)
def test_later_models_are_as_published(name: str) -> None:
    recipe, row = load_recipe(name).recipe, LATER[name]
    model, train = recipe.model, recipe.train
    assert (model.dim, model.n_layers, model.n_heads, model.n_kv_heads, model.ffn_dim) == row.shape
    assert (model.context, model.rope_theta, model.norm_eps) == (row.context, row.theta, row.norm_eps)
    assert (model.vocab_size, model.norm, model.qk_norm, model.tie_embeddings) == (row.vocab, "rms", False, False)
    assert (train.tokens, train.batch_tokens, train.document_mask) == (row.tokens, row.batch, row.document_mask)
    assert (recipe.optim.lr, recipe.optim.eps) == (row.lr, row.adam_eps)


def test_only_llama_3_1_stretches_its_rotary_frequencies() -> None:
    """The rope_scaling of its released config.json."""
    stretched = {name for name in shipped_recipes() if load_recipe(name).recipe.model.rope_scaling is not None}
    assert stretched == {"llama3.1-8b"}
    scaling = load_recipe("llama3.1-8b").recipe.model.rope_scaling
    assert scaling == RopeScaling(
        kind="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192
    )
