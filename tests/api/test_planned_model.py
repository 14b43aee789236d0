"""The model that a plan of tuning is made for: one that is there, or a recipe's shape."""

from pathlib import Path

import pytest

import puna
from puna.api.planned_model import with_model
from puna.config.recipe import ModelConfig
from puna.core.errors import CheckpointError, ConfigError, FormatError, TrainError
from puna.model.files import save_model
from puna.model.llama import Llama
from puna.plan.count import parameters
from puna.tokenizer.tokenizer import Tokenizer

SHAPE = ModelConfig(
    dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=48, vocab_size=512, context=64, tie_embeddings=True
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without a template of its own, whose tokenizer has 512 pieces."""
    path = tmp_path_factory.mktemp("models") / "small"
    save_model(Llama(SHAPE), path, tokenizer=tokenizer, inputs={})
    return path


def test_shape_is_the_models_and_the_templates_tokens_are_new_to_it(model: Path):
    chat, learns = with_model(puna.recipe("chat-lora"), model)
    assert chat.model == SHAPE.model_copy(update={"vocab_size": 514})
    assert learns
    plain, learns = with_model(puna.recipe("chat-lora", ["finetune.template=plain"]), model)
    assert (plain.model, learns) == (SHAPE, False)


def test_model_of_the_recipe_is_meant_where_none_is_named(model: Path):
    named = puna.recipe("chat-lora", [f"train.init_from={model}"])
    assert with_model(named, None)[0].model.dim == 32
    assert with_model(puna.recipe("chat-lora", ["train.init_from=llama-7b"]), model)[0].model.dim == 32


def test_rows_that_the_recipe_adds_are_new_tokens(model: Path):
    plain = puna.recipe("chat-lora", ["finetune.template=plain", "model.vocab_size=520"])
    tuned, learns = with_model(plain, model)
    assert (tuned.model.vocab_size, learns) == (520, True)


def test_a_recipe_stands_for_a_model_of_its_shape_that_is_not_there(capfd: pytest.CaptureFixture[str]):
    chat, learns = with_model(puna.recipe("chat"), "llama-7b")
    assert (chat.model.dim, chat.model.vocab_size, learns) == (4096, 32002, True)
    assert "llama-7b: a recipe, so that <|im_start|> and <|im_end|> count as new tokens" in capfd.readouterr().err
    flan, learns = with_model(puna.recipe("llama-i"), "llama-65b")
    assert (flan.model, learns) == (puna.recipe("llama-65b").model, False)
    assert capfd.readouterr().err == ""


def test_plan_of_updates_counts_what_learns(model: Path):
    planned = puna.plan("chat-lora", model=model, device="1e12")
    rank, (dim, keys, ffn) = 16, (32, 16, 48)
    pairs = [(dim, dim), (dim, keys), (dim, keys), (dim, dim), *[(dim, ffn)] * 3]
    learned = 514 * 32 + 2 * rank * sum(inputs + outputs for inputs, outputs in pairs)
    values = planned.as_dict()
    assert values["learned"] == planned.share.learning.size == learned
    assert values["parameters"]["total"] == parameters(planned.recipe.model).total
    assert (values["tokens"], values["flops"]["run"], values["speed"]["seconds"], values["energy"]) == (None,) * 4


@pytest.mark.parametrize(
    ("recipe", "place", "error", "sentence"),
    [
        ("chat", None, TrainError, "which model is to be tuned was not said"),
        ("llama-7b", "llama-7b", ConfigError, "--model llama-7b: is for recipes with"),
        ("chat", "chat-lora", ConfigError, "--model chat-lora: is a recipe that tunes a model"),
        ("chat", "no-such-model", FormatError, "no-such-model"),
    ],
)
def test_a_model_that_there_is_not_is_a_sentence(
    recipe: str,
    place: str | None,
    error: type[Exception],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=sentence):
        puna.plan(recipe, model=place)


def test_a_shape_that_the_recipe_gives_otherwise_is_refused_unless_the_model_is_named(model: Path):
    other = puna.recipe("chat-lora", [f"train.init_from={model}", "model.dim=64"])
    with pytest.raises(CheckpointError, match="dim = 32, not 64"):
        with_model(other, None)
    assert with_model(other, model)[0].model.dim == 32
