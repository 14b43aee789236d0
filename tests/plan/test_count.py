import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from puna.config.load import load_recipe
from puna.config.recipe import ModelConfig, Recipe
from puna.model.llama import Llama
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.world import World
from puna.plan.count import backward_work, flops_per_token, matmul_parameters, parameters
from puna.plan.learning import Learning, learning_of, shapes
from puna.train.initial import _let_tokens_learn

# name: exact parameters, what is published, its unit
PUBLISHED = {
    # Touvron et al. 2023 (arXiv:2302.13971), table 2, "params". The last is cut, not rounded.
    "llama-7b": (6_738_415_616, "6.7", 1e9),
    "llama-13b": (13_015_864_320, "13.0", 1e9),
    "llama-33b": (32_528_943_616, "32.5", 1e9),
    "llama-65b": (65_285_660_672, "65.2", 1e9),
    # Parameters of the released safetensors as Hugging Face's model pages show them.
    "llama2-7b": (6_738_415_616, "6.73", 1e9),
    "llama2-13b": (13_015_864_320, "13.0", 1e9),
    "llama2-70b": (68_976_648_192, "68.9", 1e9),
    "llama3-8b": (8_030_261_248, "8.03", 1e9),
    "llama3-70b": (70_553_706_496, "70.5", 1e9),
    "llama3.1-8b": (8_030_261_248, "8.03", 1e9),
    "openllama-3b": (3_426_473_600, "3.4", 1e9),
    "openllama-7b": (6_738_415_616, "6.7", 1e9),
    "openllama-13b": (13_015_864_320, "13.0", 1e9),
    # OpenLM's names; Gadre et al. 2024 (arXiv:2403.08540) call the 411M, 1B and 7B shapes 0.411B, 1.4B and 6.9B.
    "open_lm_11m": (11_012_448, "11", 1e6),
    "open_lm_25m": (24_679_104, "24", 1e6),
    "open_lm_87m": (87_461_800, "87", 1e6),
    "open_lm_160m": (162_417_408, "162", 1e6),
    "open_lm_411m": (411_616_256, "411", 1e6),
    "open_lm_830m": (834_479_616, "834", 1e6),
    "open_lm_1b": (1_439_795_200, "1.4", 1e9),
    "open_lm_3b": (2_795_932_160, "2.7", 1e9),
    "open_lm_7b": (6_889_410_560, "6.8", 1e9),
}


def torch_model(config: ModelConfig) -> Llama:
    with torch.device("meta"):
        return Llama(config)


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_published_parameters_and_the_torch_models(name: str) -> None:
    config = load_recipe(name).recipe.model
    exact, published, unit = PUBLISHED[name]
    assert parameters(config).total == exact
    assert str(exact / unit).startswith(published)
    assert sum(parameter.numel() for parameter in torch_model(config).parameters()) == exact


def test_parts_are_those_of_the_torch_model(config: ModelConfig) -> None:
    found = dict.fromkeys(("embedding", "attention", "feed_forward", "norms", "output"), 0)
    for name, parameter in torch_model(config).named_parameters():
        part = next(
            part
            for part, mark in {
                "embedding": "tok_embeddings", "norms": "norm.", "attention": ".attention.",
                "feed_forward": ".feed_forward.", "output": "output",
            }.items()
            if mark in name
        )  # fmt: skip
        found[part] += parameter.numel()
    assert vars(parameters(config)) == found


def test_full_convention_is_what_a_flop_counter_counts_in_unfused_attention(config: ModelConfig) -> None:
    tokens_BT = torch.zeros(2, config.context, dtype=torch.long, device="meta")
    model = torch_model(config)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(tokens_BT).sum().backward()
    flops = flops_per_token(config, config.context)
    # The first layer's input is a look-up, so no gradient is left out: each product costs two more backward.
    assert counter.get_total_flops() == flops["full"] * tokens_BT.numel()


TUNINGS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "lora": {"rank": 8}},
    "lora of queries": {"method": "lora", "lora": {"targets": ["wq"]}},
    "lora of values and w2": {"method": "lora", "lora": {"targets": ["wv", "w2"], "rank": 4}},
    "lora above": {"method": "lora", "freeze": ["layers.[01].*"]},
    "int8": {"method": "lora", "base": "int8"},
    "frozen below": {"freeze": ["tok_embeddings.*", "layers.0.*"]},
    "frozen matrices": {"freeze": ["*.w[123].*", "*.w[qkvo].*"]},
    "ends alone": {"freeze": ["layers.*", "norm.*"]},
    "last norm alone": {"freeze": ["tok_embeddings.*", "layers.*", "[!n]*"]},
}


def tuned(name: str, **model: Any) -> Recipe:
    shape = {"dim": 32, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 48, "vocab_size": 272, "context": 16}
    train = {"tokens": 320, "batch_tokens": 32, "micro_batch_tokens": 32, "precision": "fp32", "compile": False}
    tables = {"name": "tuned", "model": shape | model, "train": train, "optim": {"warmup_steps": 0}}
    return Recipe.model_validate(tables | {"finetune": TUNINGS[name]})


@pytest.mark.parametrize("tokens_learn", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", TUNINGS)
def test_tuning_computes_what_a_flop_counter_counts(name: str, tied: bool, tokens_learn: bool) -> None:
    recipe = tuned(name, tie_embeddings=tied)
    world = World(0, 1, torch.device("meta"), None)
    model = build_model(recipe, build_mesh(recipe.parallel, world), world.device, drawn=False)
    if tokens_learn and TUNINGS[name].get("method") == "lora":
        _let_tokens_learn(model, [])
    tokens_BT = torch.zeros(2, 16, dtype=torch.long, device="meta")
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(tokens_BT).sum().backward()
    learning = learning_of(recipe, tokens_learn=tokens_learn)
    assert counter.get_total_flops() == 32 * flops_per_token(recipe.model, 16, learning)["full"]


def test_updates_save_nearly_a_third_and_cost_what_their_own_matrices_do() -> None:
    recipe = load_recipe("llama-7b", []).recipe
    config = recipe.model
    names = frozenset(f"layers.{n}.{half}" for n in range(32) for half in ("attention.wq", "attention.wv"))
    updated = learning_of(
        Recipe.model_validate(recipe.model_dump() | {"finetune": {"method": "lora", "lora": {"targets": ["wq", "wv"]}}})
    )
    assert updated.updated == names
    # Two updates of rank 16 in each block; below the first block nothing asks for a gradient.
    own, first = 6 * 32 * 2 * 16 * 2 * 4096, 2 * 3 * 4096 * 4096 + 2 * 2 * 16 * 4096
    assert flops_per_token(config, 2048, updated)["param"] == 4 * matmul_parameters(config) + own - first


def test_walk_over_the_parts_finds_the_formula_where_everything_learns(config: ModelConfig) -> None:
    *blocks, output = backward_work(config, Learning(config, frozenset(shapes(config))))
    assert sum(part.forward + part.backward for part in (*blocks, output)) == 6 * matmul_parameters(config)
    assert {part.products_of_scores for part in blocks} == {4}
    assert {part.reached for part in blocks} == {True}


def test_conventions_differ_by_what_attention_counts(config: ModelConfig) -> None:
    flops = flops_per_token(config, 100)
    assert flops["param"] == 6 * matmul_parameters(config)
    assert flops["full"] - flops["param"] == 12 * config.n_layers * config.n_heads * config.head_dim * 100
    assert flops["causal"] - flops["param"] == 6 * config.n_layers * config.n_heads * config.head_dim * 100


def test_tied_output_layer_costs_its_product_but_no_parameters() -> None:
    shape = {"dim": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "ffn_dim": 96, "vocab_size": 300}
    tied, untied = (ModelConfig(**shape, tie_embeddings=tied) for tied in (True, False))
    assert parameters(untied).total - parameters(tied).total == 300 * 64
    assert matmul_parameters(tied) == matmul_parameters(untied)
    assert flops_per_token(tied, 10) == flops_per_token(untied, 10)


def test_counting_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import puna.plan.count"
    subprocess.run([sys.executable, "-c", code], check=True)
