"""Low-rank updates: they begin as nothing, are what the papers' formulas say, and merge into the weights."""

from typing import Any

import pytest
import torch

from puna.config.finetune import FinetuneConfig
from puna.config.model import ModelConfig
from puna.core.errors import TrainError
from puna.model import lora
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.model.parts import is_update
from puna.ops.bits import same_bits
from puna.ops.quantized import WeightKind, dequantize, quantize

KINDS = {"lora": {}, "rank-stabilised": {"rank_stabilised": True}, "dora": {"dora": True}}
TOKENS_BT = torch.randint(0, 301, (2, 20), generator=torch.Generator().manual_seed(3))


def settings(**changes: Any) -> FinetuneConfig:
    return FinetuneConfig.model_validate({"method": "lora", "lora": {"rank": 4} | changes})


def decoder(dtype: torch.dtype = torch.float32) -> Llama:
    shape = {"dim": 64, "n_heads": 4, "n_kv_heads": 2, "n_layers": 3, "ffn_dim": 88, "vocab_size": 301, "context": 48}
    model = Llama(ModelConfig.model_validate(shape))
    init_weights(model, 0)
    return model.to(dtype)


def with_values(model: Llama) -> Llama:
    """The model with updates that are more than nothing."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if is_update(name):
            parameter.data += torch.randn(parameter.shape, generator=generator, dtype=torch.float32) * 0.05
    return model


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_update_begins_as_nothing_to_the_bit(kind: dict[str, Any]) -> None:
    model = decoder()
    before = model(TOKENS_BT)
    lora.apply(model, settings(**kind))
    assert same_bits(model(TOKENS_BT), before)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_merged_model_is_the_model_with_its_updates(kind: dict[str, Any]) -> None:
    model = decoder()
    before = model(TOKENS_BT)
    lora.apply(model, settings(**kind))
    names = [name for name, _ in decoder().named_parameters()]
    unmerged = with_values(model)(TOKENS_BT)
    lora.merge_(model)
    assert (unmerged - before).abs().max() > 0.01
    torch.testing.assert_close(model(TOKENS_BT), unmerged, atol=1e-5, rtol=0)
    assert [name for name, _ in model.named_parameters()] == names


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_adapter_of_a_model_merges_into_what_the_model_computes(kind: dict[str, Any]) -> None:
    model = decoder()
    lora.apply(model, settings(**kind))
    adapter = lora.adapter_of(with_values(model))
    plain = decoder()
    adapter.check(plain.config, "it")
    for name, update in adapter.updates.items():
        layer = plain.get_submodule(name)
        layer.weight = torch.nn.Parameter(update.merged(layer.weight))
    torch.testing.assert_close(plain(TOKENS_BT), model(TOKENS_BT), atol=1e-5, rtol=0)


def test_scales_are_those_of_the_papers() -> None:
    for changes, expected in (({}, 8.0), ({"rank_stabilised": True}, 16.0)):
        model = decoder()
        lora.apply(model, settings(alpha=32.0, **changes))
        assert {update.scale for update in lora.adapter_of(model).updates.values()} == {expected}


def test_only_updates_learn_and_only_their_layers_have_one() -> None:
    model = decoder()
    lora.apply(model, settings(targets=["wq", "w2"]))
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert all(map(is_update, learning))
    assert len(learning) == 3 * 2 * 2
    assert {name.split(".")[3] for name in learning} == {"wq", "w2"}


def test_what_is_frozen_by_pattern_has_no_update() -> None:
    model = decoder()
    lora.apply(model, settings().model_copy(update={"freeze": ["layers.[01].*"]}))
    assert {name.split(".")[1] for name, _ in lora.updated(model)} == {"2"}


def test_the_norm_of_dora_counts_as_a_constant_in_the_gradient() -> None:
    model = decoder()
    lora.apply(model, settings(dora=True))
    layer = with_values(model).layers[0].attention.wq
    weight_OI, update = layer.weight, layer.update
    x_NI = torch.randn(6, 64)
    layer(x_NI).sum().backward()
    a_RI, b_OR, m_O = (p.detach().clone().requires_grad_() for p in (update.a, update.b, update.magnitude))
    updated_OI = weight_OI + update.scale * (b_OR @ a_RI)
    ((x_NI @ updated_OI.T) * (m_O / updated_OI.norm(dim=1).detach())).sum().backward()
    for found, expected in ((update.a, a_RI), (update.b, b_OR), (update.magnitude, m_O)):
        torch.testing.assert_close(found.grad, expected.grad, atol=1e-5, rtol=1e-5)


def test_first_values_depend_on_the_seed_and_the_layer() -> None:
    drawn = []
    for seed in (0, 0, 1):
        model = decoder()
        lora.apply(model, settings(), seed)
        drawn.append(lora.adapter_of(model).updates)
    same, other = drawn[1], drawn[2]
    assert all(same_bits(update.a_RI, same[name].a_RI) for name, update in drawn[0].items())
    assert not torch.equal(drawn[0]["layers.0.attention.wq"].a_RI, other["layers.0.attention.wq"].a_RI)
    assert not torch.equal(same["layers.0.attention.wq"].a_RI, same["layers.1.attention.wq"].a_RI)
    largest = max(update.a_RI.abs().max().item() for name, update in same.items() if not name.endswith("w2"))
    assert 0.99 / 8 < largest <= 1 / 8


@pytest.mark.parametrize("base", ["int8", "int4"])
@pytest.mark.parametrize("dora", [False, True])
def test_an_update_of_a_packed_base_begins_as_nothing_to_the_bit(base: str, dora: bool) -> None:
    model, rounded = decoder(), decoder()
    for name, layer in rounded.named_modules():
        if isinstance(layer, torch.nn.Linear) and name.startswith("layers."):
            layer.weight = torch.nn.Parameter(dequantize(quantize(layer.weight.detach(), WeightKind(base))))
    changes = {"base": base, "freeze": ["layers.1.feed_forward.w1.*"]}
    lora.apply(model, settings(dora=dora).model_copy(update=changes))
    assert same_bits(model(TOKENS_BT), rounded(TOKENS_BT))
    lora.apply(rounded, settings(dora=dora).model_copy(update={"freeze": changes["freeze"]}))
    found, expected = (with_values(each)(TOKENS_BT) for each in (model, rounded))
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    theirs = dict(rounded.named_parameters())
    learning = [name for name in theirs if is_update(name)]
    assert len(learning) == 20 * (3 if dora else 2)
    for name in learning:
        torch.testing.assert_close(model.get_parameter(name).grad, theirs[name].grad, atol=1e-4, rtol=1e-4)


def test_a_packed_base_takes_the_bytes_of_its_integers_and_refuses_a_merge() -> None:
    model = decoder()
    matrices = sum(p.numel() for n, p in model.named_parameters() if n.startswith("layers.") and p.ndim == 2)
    lora.apply(model, settings().model_copy(update={"base": "int4"}))
    assert not any(n.endswith(("wq.weight", "w2.weight")) for n, _ in model.named_parameters())
    groups = sum(3 * o * -(-i // 32) for o, i in ((64, 64), (32, 64), (32, 64), (64, 64), (88, 64), (64, 88), (88, 64)))
    assert sum(buffer.nbytes for buffer in model.buffers()) == matrices // 2 + 2 * groups
    with pytest.raises(TrainError, match="is not merged into a base of int8 or int4"):
        lora.merge_(model)


def test_merging_makes_all_weights_float32() -> None:
    model = decoder(torch.bfloat16)
    lora.apply(model, settings())
    lora.merge_(model)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
