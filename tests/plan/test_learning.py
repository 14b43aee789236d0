"""What learns, against the decoder as training builds it."""

from typing import Any

import pytest
import torch
from torch import nn

from puna.config.recipe import Recipe
from puna.core.errors import TrainError
from puna.model.llama import Llama
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.world import World
from puna.plan.learning import BY_TOKEN, check_method, layers_of, learning_of, shapes
from puna.train.initial import _let_tokens_learn


def recipe(finetune: dict[str, Any] | None, **tables: dict[str, Any]) -> Recipe:
    model = {"dim": 48, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 80, "vocab_size": 272, "context": 32}
    train = {"tokens": 1024, "batch_tokens": 128, "micro_batch_tokens": 64, "precision": "fp32", "compile": False}
    values: dict[str, Any] = {"name": "small", "model": model, "train": train, "optim": {"warmup_steps": 0}}
    for name, table in tables.items():
        values[name] = values.get(name, {}) | table
    return Recipe.model_validate(values if finetune is None else values | {"finetune": finetune})


def built(config: Recipe) -> Llama:
    """The model as training begins with it, on the meta device."""
    world = World(0, 1, torch.device("meta"), None)
    return build_model(config, build_mesh(config.parallel, world), world.device, drawn=False)


@pytest.mark.parametrize("model", [{}, {"tie_embeddings": True}, {"qk_norm": True, "norm": "layer-bias"}])
def test_names_and_shapes_are_the_decoders(model: dict[str, Any]):
    config = recipe(None, model=model)
    with torch.device("meta"):
        found = {name: tuple(weight.shape) for name, weight in Llama(config.model).named_parameters()}
    assert shapes(config.model) == found
    assert learning_of(config).shapes == found
    assert learning_of(config).everything


FINETUNE: list[dict[str, Any]] = [
    {}, {"freeze": ["tok_embeddings.*", "layers.[01].*"]}, {"freeze": ["*norm*"]}, {"method": "lora"},
    {"method": "lora", "lora": {"dora": True, "rank": 3, "targets": ["wq", "w2"]}},
    {"method": "lora", "base": "int8", "freeze": ["layers.0.*"]}, {"method": "lora", "base": "int4"},
]  # fmt: skip


@pytest.mark.parametrize("tokens_learn", [False, True])
@pytest.mark.parametrize("finetune", FINETUNE, ids=str)
@pytest.mark.parametrize("model", [{}, {"tie_embeddings": True, "dim": 40}])
def test_what_learns_is_what_learns_in_training(finetune: dict[str, Any], model: dict[str, Any], tokens_learn: bool):
    config = recipe(finetune, model=model)
    decoder = built(config)
    if tokens_learn and finetune.get("method") == "lora":
        _let_tokens_learn(decoder, [])
    learning = learning_of(config, tokens_learn=tokens_learn)
    found = {name: tuple(weight.shape) for name, weight in decoder.named_parameters() if weight.requires_grad}
    assert learning.shapes == found
    assert learning.output == decoder.output.weight.requires_grad
    assert learning.embedding == decoder.tok_embeddings.weight.requires_grad
    assert learning.everything == (found.keys() == shapes(config.model).keys())


@pytest.mark.parametrize("base", ["int8", "int4"])
def test_integers_take_the_bytes_of_the_models_buffers(base: str):
    config = recipe({"method": "lora", "base": base}, model={"dim": 40, "ffn_dim": 81})
    learning, decoder = learning_of(config), built(config)
    for layer in layers_of(config.model):
        module = decoder.get_submodule(layer.in_block(0))
        assert isinstance(module, nn.Linear)
        assert learning.packed_bytes(layer) == sum(buffer.nbytes for buffer in module.buffers())
    assert learning_of(recipe({"method": "lora"})).packed_bytes(layers_of(config.model)[0]) == 0


def test_weights_by_token_are_those_that_new_tokens_let_learn():
    assert learning_of(recipe({"method": "lora"}), tokens_learn=True).whole == {*BY_TOKEN}


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"train": {"float8": True, "precision": "bf16"}}, "float8 = true is for methods that move the matrices"),
        ({"finetune": {"method": "lora", "lora": {"dropout": 0.1}}, "parallel": {"tensor": 2}}, "are not dropped"),
        ({"finetune": {"method": "lora", "base": "int8"}, "parallel": {"tensor": 2}}, "is not split over devices"),
    ],
)
def test_updates_that_nothing_can_compute_are_refused(tables: dict[str, Any], sentence: str):
    config = recipe(tables.pop("finetune", {"method": "lora"}), **tables)
    for check in (check_method, learning_of):
        with pytest.raises(TrainError, match=sentence):
            check(config)


def test_patterns_that_match_nothing_or_all_are_refused():
    with pytest.raises(TrainError, match=r"'layers\.9.\*' matches no parameter"):
        learning_of(recipe({"freeze": ["layers.9.*"]}))
    with pytest.raises(TrainError, match="nothing would learn"):
        learning_of(recipe({"freeze": ["*"]}))
