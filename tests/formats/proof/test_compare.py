"""What a conversion changed."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from puna.core.errors import ExportError, FormatError
from puna.core.schema.export import ExportWeights
from puna.formats.cast import CastCheckpoint
from puna.formats.checkpoint import Stored
from puna.formats.proof.compare import compare_configs, compare_outputs, compare_weights

WQ = "layers.0.attention.wq.weight"


def nothing(amount: float) -> None:
    del amount


def test_the_same_bits_are_identical_and_all_bytes_are_reported(source: Callable[..., Any]) -> None:
    compared: list[int] = []
    found = compare_weights(source(), source(), compared.append)
    assert found == ExportWeights(tensors=21, identical=21, converted={}, quantized={})
    assert sum(compared) == sum(tensor.nbytes for tensor in source().tensors.values())


def test_one_bit_is_found(source: Callable[..., Any]) -> None:
    other = source()
    other.tensors[WQ].view(torch.int32)[3, 3] ^= 1
    with pytest.raises(ExportError, match=f"{WQ} has other values"):
        compare_weights(source(), other, nothing)


def test_signed_zeros_and_nans_are_compared_by_their_bits(source: Callable[..., Any]) -> None:
    a, b = source(), source()
    a.tensors[WQ][0, 0] = b.tensors[WQ][0, 0] = math.nan
    assert compare_weights(a, b, nothing).identical == 21
    a.tensors[WQ][0, 1], b.tensors[WQ][0, 1] = 0.0, -0.0
    with pytest.raises(ExportError, match="other values"):
        compare_weights(a, b, nothing)


def test_rounded_weights_are_counted_apart_and_wrongly_rounded_ones_found(source: Callable[..., Any]) -> None:
    rounded = source()
    rounded = type(rounded)(rounded.config, {n: CastCheckpoint(rounded, "bfloat16").tensor(n) for n in rounded.tensors})
    found = compare_weights(source(), rounded, nothing)
    assert found.identical == 0
    assert found.converted == {"bfloat16": 21}
    assert compare_weights(rounded, CastCheckpoint(rounded, "float32"), nothing).converted == {"float32": 21}
    rounded.tensors[WQ].view(torch.int16)[0, 0] ^= 1
    with pytest.raises(ExportError, match="other values"):
        compare_weights(source(), rounded, nothing)


def test_quantized_weights_have_an_error(source: Callable[..., Any]) -> None:
    a, b = source(), source()
    b.stored = {**b.stored, WQ: Stored("Q8_0", 1)}
    b.tensors[WQ] += 0.01
    found = compare_weights(a, b, nothing)
    expected = 0.01 / a.tensors[WQ].square().mean().sqrt().item()
    assert found.quantized["Q8_0"].tensors == 1
    assert found.quantized["Q8_0"].relative_rms_error == pytest.approx(expected, rel=1e-4)


def test_missing_extra_and_other_shapes_are_refused(source: Callable[..., Any]) -> None:
    b = source()
    b.extra = ["x"]
    with pytest.raises(FormatError, match="has 1 tensor"):
        compare_weights(source(), b, nothing)
    b = source()
    b.tensors[WQ] = b.tensors[WQ].T[:, :40]
    with pytest.raises(ExportError, match=rf"{WQ} is \[80, 40\], but the model has \[80, 80\]"):
        compare_weights(source(), b, nothing)


@pytest.mark.parametrize(
    "change", [{"norm_eps": 1e-3}, {"rope_theta": 7.0}, {"norm": "layer"}, {"tie_embeddings": True}, {"n_kv_heads": 4}]
)
def test_a_field_of_the_arithmetic_that_differs_is_named(source: Callable[..., Any], change: dict[str, Any]) -> None:
    with pytest.raises(ExportError, match=next(iter(change))):
        compare_configs(source(), source(**change))


def test_fields_that_no_decoder_computes_with_may_differ_and_eps_may_have_been_a_float32(
    source: Callable[..., Any],
) -> None:
    compare_configs(source(norm_eps=1e-5), source(norm_eps=9.999999747378752e-06, context=32, init_std=0.3))


def test_outputs_are_measured_as_their_definitions_say(source: Callable[..., Any], decoder: Callable[..., Any]) -> None:
    a, b = source(), source(seed=1)
    tokens_BT = torch.randint(0, 512, (2, 12), generator=torch.Generator().manual_seed(0))
    found = compare_outputs(a, b, tokens_BT, "a text", nothing)
    with torch.no_grad():
        p, q = decoder(a)(tokens_BT), decoder(b)(tokens_BT)
    assert found.max_abs_difference == pytest.approx((p - q).abs().max().item(), rel=1e-4)
    kl = (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum(-1).mean().item()
    assert found.mean_kl == pytest.approx(kl, rel=1e-3)
    assert found.same_most_likely == (p.argmax(-1) == q.argmax(-1)).float().mean().item()
    for name, logits in (("source", p), ("written", q)):
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens_BT[:, 1:].flatten()).item()
        assert getattr(found.perplexity, name) == pytest.approx(math.exp(loss), rel=1e-4)
    assert found.tokens == 24


def test_logits_that_are_not_numbers_are_refused_and_a_perplexity_beyond_all_floats_is_none(
    source: Callable[..., Any],
) -> None:
    tokens_BT = torch.randint(0, 512, (2, 12), generator=torch.Generator().manual_seed(0))
    model = source()
    model.tensors["output.weight"] *= 1e6
    assert compare_outputs(model, model, tokens_BT, "a text", nothing).perplexity is None
    model.tensors["output.weight"][5, 5] = math.nan
    with pytest.raises(ExportError, match="not finite"):
        compare_outputs(model, source(), tokens_BT, "a text", nothing)


def test_a_model_differs_in_nothing_from_itself(source: Callable[..., Any]) -> None:
    tokens_BT = torch.randint(0, 512, (2, 12))
    found = compare_outputs(source(), source(), tokens_BT, "a text", nothing)
    assert found.max_abs_difference == 0
    assert found.mean_kl == pytest.approx(0, abs=1e-6)
    assert found.same_most_likely == 1
