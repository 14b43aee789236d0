"""The shipped presets of instruction tuning have their published numbers; each table names its source."""

from dataclasses import dataclass

import pytest

from puna.config.finetune import LoraConfig
from puna.config.load import load_recipe, shipped_recipes
from puna.config.recipe import Recipe


def tuning() -> dict[str, Recipe]:
    """The shipped recipes of `puna finetune`."""
    recipes = {name: load_recipe(name).recipe for name in shipped_recipes()}
    return {name: recipe for name, recipe in recipes.items() if recipe.finetune is not None}


@dataclass(frozen=True)
class Row:
    """What a source publishes of a tuning."""

    template: str
    epochs: float
    warmup_ratio: float
    lr: float
    schedule: str
    """And to which share of the peak it falls, which is 0 where a library's own schedule is taken."""
    floor: float
    clip: float = 1.0


PRESETS = {
    # Zephyr (Tunstall et al. 2023, arXiv:2310.16944): sections 4.2 and 4.3; AdamW without decay.
    "chat": Row("chatml", 2, 0.1, 2e-5, "cosine", 0.1),
    "dpo": Row("own", 1, 0.1, 5e-7, "linear", 0.0),
    # QLoRA (Dettmers et al. 2023, arXiv:2305.14314), appendix B.2.
    "chat-lora": Row("chatml", 2, 0.03, 2e-4, "constant", 1.0, clip=0.3),
    # Stanford Alpaca's README: the table for LLaMA 7B, and its command line.
    "alpaca": Row("alpaca", 3, 0.03, 2e-5, "cosine", 0.0),
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_of_conversations_are_tuned_as_published(name: str) -> None:
    recipe, row = load_recipe(name).recipe, PRESETS[name]
    tuning, optim = recipe.finetune, recipe.optim
    assert tuning is not None
    assert (tuning.template, tuning.epochs, tuning.warmup_ratio) == (row.template, row.epochs, row.warmup_ratio)
    assert (optim.name, optim.lr, optim.schedule, optim.clip_norm) == ("adamw", row.lr, row.schedule, row.clip)
    if row.schedule != "constant":
        assert optim.final_lr_ratio == pytest.approx(row.floor, abs=1e-6)
    # The default of the library that all of them were made with, and none decays weights.
    assert (optim.beta2, optim.eps, optim.weight_decay) == (0.999, 1e-8, 0.0)


def test_alpaca_has_128_examples_of_512_tokens_in_a_batch() -> None:
    recipe = load_recipe("alpaca").recipe
    assert recipe.finetune is not None
    assert not recipe.finetune.pack
    assert (recipe.model.context, recipe.train.batch_tokens) == (512, 128 * 512)


def test_dpo_has_the_beta_of_its_source() -> None:
    tuning = load_recipe("dpo").recipe.finetune
    assert tuning is not None
    assert tuning.preference is not None
    assert (tuning.preference.loss, tuning.preference.beta) == ("dpo", 0.1)


def test_low_rank_updates_are_on_all_linear_layers() -> None:
    tuning = load_recipe("chat-lora").recipe.finetune
    assert tuning is not None
    assert tuning.method == "lora"
    assert tuning.lora == LoraConfig(rank=16, alpha=32.0, dropout=0.1)
    assert set(tuning.lora.targets) == {"wq", "wk", "wv", "wo", "w1", "w2", "w3"}


# Chung et al. 2022, arXiv:2210.11416, table 22: sequences per batch, dropout, learning rate, steps.
TABLE_22 = {
    "flan-t5-small": (64, 0.05, 5e-4, 98_000),
    "flan-t5-base": (64, 0.05, 5e-4, 84_000),
    "flan-t5-large": (64, 0.05, 5e-4, 64_000),
    "flan-t5-xl": (64, 0.05, 5e-4, 38_000),
    "flan-t5-xxl": (64, 0.05, 5e-4, 14_000),
    "flan-palm-8b": (32, 0.05, 3e-3, 40_000),
    "flan-palm-62b": (32, 0.05, 3e-3, 40_000),
    "flan-palm-540b": (32, 0.1, 1e-3, 21_000),
    # LLaMA-I has no numbers of its own (Touvron et al. 2023, section 4): it has those of the model of its size.
    "llama-i": (32, 0.05, 3e-3, 40_000),
    # Longpre et al. 2023, section 4, tune T5 XL.
    "flan-collection": (64, 0.05, 5e-4, 38_000),
}
# The same paper's table 23: examples of a task at most, and the two published proportions.
CAPS = {"muffin": 30_000, "t0_sf": 20_000, "cot": 100_000, "niv2": 5_000}
A = {"muffin": 52, "t0_sf": 15, "cot": 3, "niv2": 30}
B = {"muffin": 46.0, "t0_sf": 27.9, "cot": 1.8, "niv2": 24.2}


@pytest.mark.parametrize("name", TABLE_22)
def test_presets_of_flan_are_table_22(name: str) -> None:
    recipe, (batch, dropout, lr, steps) = load_recipe(name).recipe, TABLE_22[name]
    tuning, train, optim, context = recipe.finetune, recipe.train, recipe.optim, recipe.model.context
    assert tuning is not None
    assert (train.batch_tokens, recipe.total_steps, train.tokens) == (batch * context, steps, steps * batch * context)
    assert (tuning.dropout, optim.lr) == (dropout, lr)
    # Section 2.2: Adafactor at a constant rate, packed sequences, an end of text between input and target.
    assert (optim.name, optim.schedule, optim.warmup_steps, optim.weight_decay) == ("adafactor", "constant", 0, 0.0)
    assert (tuning.template, tuning.pack, tuning.learn, tuning.epochs) == ("flan", True, "answers", None)
    # flan/v2/constants.py: SEQUENCE_LEN; LLaMA's context has 512 fewer.
    assert (tuning.max_prompt_tokens, tuning.max_answer_tokens, context) == (
        (1536, 512, 2048) if name == "llama-i" else (2048, 512, 2560)
    )
    assert optim.clip_norm >= 1e9


@pytest.mark.parametrize("name", sorted(set(TABLE_22) - {"flan-collection"}))
def test_both_published_proportions_of_flan_ship(name: str) -> None:
    recipe = load_recipe(name).recipe
    assert recipe.finetune is not None
    assert recipe.finetune.task_cap == CAPS
    assert recipe.mixture == (B if name.startswith("flan-t5") else A)
    assert ("proportions B" in recipe.description) == name.startswith("flan-t5")


def test_the_flan_collection_has_the_weights_and_caps_of_its_code() -> None:
    """flan/v2/run_example.py, flan2022_submix; flan/v2/mixtures.py, DEFAULT_MIXTURE_MAX_EXAMPLES."""
    recipe = load_recipe("flan-collection").recipe
    assert recipe.mixture == {"flan2021": 40, "t0": 32, "niv2": 20, "cot": 5, "dialog": 3}
    assert recipe.finetune is not None
    assert recipe.finetune.task_cap == {
        "flan2021": 30_000, "t0": 20_000, "niv2": 5_000, "cot": 100_000, "dialog": 200_000
    }  # fmt: skip


@pytest.mark.parametrize("name", TABLE_22)
def test_presets_of_flan_read_tasks(name: str) -> None:
    recipe = load_recipe(name).recipe
    assert recipe.finetune is not None
    assert set(recipe.finetune.task_cap) == set(recipe.data.sources) == set(recipe.mixture)
    assert {source.format for source in recipe.data.sources.values()} == {"tasks"}


def test_every_preset_of_tuning_is_in_a_table() -> None:
    assert set(tuning()) - {"demo-chat", "demo-smoke-chat"} == set(PRESETS) | set(TABLE_22)
