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


def test_every_preset_of_tuning_is_in_a_table() -> None:
    assert set(tuning()) == set(PRESETS)
