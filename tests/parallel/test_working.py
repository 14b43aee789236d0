"""Passes on working weights against plain ones: the same gradients, in the parameters' own dtype."""

import copy
import gc
import weakref

import pytest
import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.ops.cross_entropy import linear_cross_entropy
from puna.parallel.working import WorkingWeights

SMALL = {"dim": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 48, "vocab_size": 300, "context": 16}


def build(**changes: object) -> Llama:
    model = Llama(ModelConfig.model_validate(SMALL | changes))
    init_weights(model, 1)
    return model


def gradients(model: Llama, working: WorkingWeights | None, passes: int = 2, chunk: int = 64) -> dict[str, Tensor]:
    """The gradient of the sum of some passes' losses."""
    for number in range(passes):
        generator = torch.Generator().manual_seed(number)
        tokens_BT = torch.randint(300, (2, 17), generator=generator)
        weight = model.output.weight if working is None else working.own(model.output.weight)
        x_ND = model.hidden(tokens_BT[:, :-1]).flatten(0, 1)
        linear_cross_entropy(x_ND, weight, tokens_BT[:, 1:].flatten(), chunk)[0].backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def within(model: Llama, working: WorkingWeights, passes: int = 2, chunk: int = 64) -> dict[str, Tensor]:
    named = dict(model.named_parameters())
    with working:
        gradients(model, working, passes, chunk)
    assert dict(model.named_parameters()).keys() == named.keys()
    assert all(parameter is named[name] for name, parameter in model.named_parameters())
    return {name: parameter.grad for name, parameter in named.items()}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_bfloat16_passes_have_float32_sums_of_the_gradients_of_a_bfloat16_model(tied: bool, compiled: bool):
    model = build(tie_embeddings=tied)
    rounded = copy.deepcopy(model).bfloat16()
    rounded.tie()
    ours = within(model, WorkingWeights(model, compiled=compiled))
    sums: dict[str, Tensor] = {}
    for number in range(2):
        rounded.zero_grad()
        generator = torch.Generator().manual_seed(number)
        tokens_BT = torch.randint(300, (2, 17), generator=generator)
        x_ND = rounded.hidden(tokens_BT[:, :-1]).flatten(0, 1)
        linear_cross_entropy(x_ND, rounded.output.weight, tokens_BT[:, 1:].flatten(), 64)[0].backward()
        for name, parameter in rounded.named_parameters():
            sums[name] = sums.get(name, 0.0) + parameter.grad.float()
    assert ours.keys() == sums.keys()
    for name, theirs in sums.items():
        assert ours[name].dtype == torch.float32, name
        if "output" in name or tied:
            # The output layer's part is not rounded before it is added.
            assert (ours[name] - theirs).norm() <= 1e-2 * theirs.norm(), name
        else:
            assert torch.equal(ours[name], theirs), name


def test_the_output_layers_sum_over_chunks_is_not_rounded():
    model = build()
    ours = within(model, WorkingWeights(model), passes=1, chunk=8)["output.weight"]
    assert not torch.equal(ours, ours.bfloat16().float())


def test_copies_follow_the_parameters():
    model = build()
    working = WorkingWeights(model)
    tokens_BT = torch.arange(16)[None]
    with torch.no_grad():
        with working:
            before = model.hidden(tokens_BT)
        for parameter in model.parameters():
            parameter.mul_(1.1)
        with working:
            after = model.hidden(tokens_BT)
        expected = copy.deepcopy(model).bfloat16().hidden(tokens_BT)
    assert not torch.equal(before, after)
    assert (after - expected).norm() < 1e-2 * expected.norm()


def test_an_error_within_leaves_the_models_own_parameters_in_place():
    model = build()
    named = dict(model.named_parameters())
    with pytest.raises(ZeroDivisionError), WorkingWeights(model):
        raise ZeroDivisionError
    assert all(parameter is named[name] for name, parameter in model.named_parameters())
    assert model.hidden(torch.arange(4)[None]).dtype == torch.float32


def test_model_and_copies_are_given_back_when_nobody_holds_them():
    model = build()
    within(model, WorkingWeights(model))
    parameters = [weakref.ref(parameter) for parameter in model.parameters()]
    del model
    gc.collect()
    assert [reference() for reference in parameters] == [None] * len(parameters)
