"""Float8 products in emulation: their rounding, what may be rounded at all, and a model that learns through them."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.config.recipe import ModelConfig
from puna.core.errors import TrainError
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.parallel.float8 import LARGEST, apply_float8, check_float8, product, to_float8
from puna.parallel.recompute import apply_recompute

SMALL = {"dim": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 96, "vocab_size": 300, "context": 32}


def build(**changes: object) -> Llama:
    model = Llama(ModelConfig.model_validate(SMALL | changes))
    init_weights(model, 1)
    return model


@settings(max_examples=60)
@given(
    rows=st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=8, max_size=8), min_size=1, max_size=4),
    power=st.integers(-60, 60),
)
def test_every_number_of_a_row_is_off_by_a_sixteenth_or_by_little_of_the_rows_largest(rows: list, power: int):
    x_RK = torch.tensor(rows) * 2.0**power
    x8_RK, scale_R1 = to_float8(x_RK)
    back_RK = x8_RK.float() * scale_R1
    # 3 bits: half of an eighth of a number's power of two; below 2^-6 of float8's numbers, half of 2^-9.
    allowed_RK = torch.maximum(x_RK.abs() / 16, scale_R1 * 2.0**-10)
    assert ((back_RK - x_RK).abs() <= allowed_RK * (1 + 1e-5)).all()
    assert (x8_RK.float().abs() <= LARGEST).all()


def test_a_row_of_zeros_stays_zero_and_an_outlier_keeps_to_its_row():
    x_RK = torch.zeros(3, 16)
    x_RK[1, 0], x_RK[2] = 1e6, torch.linspace(-1, 1, 16)
    x8_RK, scale_R1 = to_float8(x_RK)
    assert not x8_RK[0].float().any()
    torch.testing.assert_close((x8_RK.float() * scale_R1)[2], x_RK[2], rtol=1 / 16, atol=1e-3)


def test_a_product_is_the_exact_one_to_the_rounding_of_its_factors():
    generator = torch.Generator().manual_seed(0)
    left_RK, right_CK = torch.randn(64, 512, generator=generator), torch.randn(48, 512, generator=generator)
    exact_RC = left_RK.double() @ right_CK.double().T
    ours_RC = product(left_RK, right_CK).double()
    # Two factors, each off by up to 1/16 and by 1/16/sqrt(3) on average, and by chance.
    assert (ours_RC - exact_RC).norm() < 0.06 * exact_RC.norm()
    assert (ours_RC - exact_RC).norm() > 0.01 * exact_RC.norm()


def test_the_weights_gradient_is_that_of_exact_factors():
    model = build(n_layers=1)
    layer = model.blocks()[0].feed_forward.w1
    x_NI = torch.randn(40, 64, generator=torch.Generator().manual_seed(0))
    grad_NO = torch.randn(40, 96, generator=torch.Generator().manual_seed(1))
    layer(x_NI).backward(grad_NO)
    expected, layer.weight.grad = layer.weight.grad, None
    apply_float8(model)
    layer(x_NI).backward(grad_NO)
    torch.testing.assert_close(layer.weight.grad, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("recompute", ["none", "llama", "full"])
def test_gradients_are_near_those_of_the_exact_model(recompute: str):
    exact, rounded = build(), build()
    apply_float8(rounded)
    apply_recompute(rounded, recompute)
    tokens_BT = torch.randint(300, (4, 33), generator=torch.Generator().manual_seed(0))
    losses = []
    for model in (exact, rounded):
        logits_BTV = model(tokens_BT[:, :-1])
        losses.append(torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten()))
        losses[-1].backward()
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-2)
    for (name, ours), theirs in zip(rounded.named_parameters(), exact.parameters(), strict=True):
        assert torch.nn.functional.cosine_similarity(ours.grad.flatten(), theirs.grad.flatten(), dim=0) > 0.98, name


def test_a_model_learns_a_text_by_heart_through_float8():
    model = build().bfloat16()
    apply_float8(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    tokens_BT = torch.randint(300, (1, 33), generator=torch.Generator().manual_seed(0))
    for _ in range(60):
        logits_BTV = model(tokens_BT[:, :-1]).float()
        loss = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5


def test_the_output_layer_embedding_and_norms_stay_exact():
    model = build()
    before = copy.deepcopy(model)
    apply_float8(model)
    x_BTD = torch.randn(1, 3, 64)
    assert torch.equal(model.output(x_BTD), before.output(x_BTD))
    assert torch.equal(model.norm(x_BTD), before.norm(x_BTD))


def test_a_cpu_is_refused_in_a_sentence():
    with pytest.raises(TrainError, match=r"train.float8 = true needs a GPU of compute capability 8.9 or higher.*a CPU"):
        check_float8(build(), torch.device("cpu"))
