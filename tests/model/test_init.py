import math

import pytest
import torch
from devices import device_of, split_over
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from puna.config.recipe import ModelConfig
from puna.model import init
from puna.model.init import Normal, distribution, draw, init_weights
from puna.model.llama import Llama

CONFIG = ModelConfig(dim=128, n_layers=8, n_heads=4, n_kv_heads=2, ffn_dim=256, vocab_size=1000, init_std=0.03)


def build(seed: int, config: ModelConfig = CONFIG) -> Llama:
    with torch.device("meta"):
        model = Llama(config)
    model.to_empty(device="cpu")
    init_weights(model, seed)
    return model


def test_standard_deviations_are_the_recipes_and_smaller_where_the_stream_is_written() -> None:
    for name, parameter in build(0).named_parameters():
        if name.endswith("norm.weight"):
            assert (parameter == 1).all()
            continue
        expected = 0.03
        if name.split(".")[-2] in {"wo", "w2"}:
            expected /= math.sqrt(16)
        assert parameter.std().item() == pytest.approx(expected, rel=0.05), name
        assert abs(parameter.mean().item()) < expected * 0.05, name


def test_equal_seeds_give_equal_weights_and_other_seeds_others() -> None:
    first, second, other = build(1), build(1), build(2)
    for (name, a), (_, b), (_, c) in zip(*(m.named_parameters() for m in (first, second, other)), strict=True):
        assert torch.equal(a, b), name
        assert name.endswith("norm.weight") or not torch.equal(a, c), name


def test_global_random_state_is_neither_used_nor_changed() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build(1).output.weight
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(build(1).output.weight, first)


def test_tied_model_is_initialised_once_and_stays_tied() -> None:
    model = build(0, CONFIG.model_copy(update={"tie_embeddings": True}))
    assert model.output.weight is model.tok_embeddings.weight
    assert torch.equal(model.tok_embeddings.weight, build(0).tok_embeddings.weight)


def test_loss_before_training_is_that_of_a_uniform_guess() -> None:
    model = build(0)
    tokens_BT = torch.randint(0, 1000, (4, 65), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(tokens_BT[:, :-1]).flatten(0, 1), tokens_BT[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(1000), rel=0.02)


OPENLM = CONFIG.model_copy(update={"init": "openlm", "norm": "layer", "qk_norm": True, "n_layers": 3})


def test_openlm_scales_by_columns_and_depth_and_cuts_off_at_three_deviations() -> None:
    """Its `reset_parameters`: 1 / sqrt(fan in), and for wo and w2 of the l-th layer 1 / sqrt(2 l) of it."""
    fan_in = {"w2": 256} | dict.fromkeys(("tok_embeddings", "output", "wq", "wk", "wv", "wo", "w1", "w3"), 128)
    kept = 0.98658  # standard deviation of a normal that is cut off at three
    for name, parameter in build(0, OPENLM).named_parameters():
        if name.endswith("norm.weight"):
            assert (parameter == 1).all()
            continue
        kind = name.split(".")[-2]
        std = 1 / math.sqrt(fan_in[kind])
        if kind in {"wo", "w2"}:
            std /= math.sqrt(2 * (int(name.split(".")[1]) + 1))
        assert parameter.std().item() == pytest.approx(std * kept, rel=0.02), name
        assert abs(parameter.mean().item()) < std * 0.03, name
        assert 2.8 * std < parameter.abs().max().item() <= 3 * std * (1 + 1e-6), name


def test_scaled_normal_has_the_tails_of_a_normal_and_openlm_has_none() -> None:
    shares = []
    for normal in (Normal(1.0), Normal(1.0, bound=3.0)):
        x = torch.empty(2000, 1000)
        draw(x, 0, "x", x.shape, (0, 0), normal)
        shares.append([(x.abs() > z).double().mean().item() for z in (1, 2, 3)])
    two_sided = [math.erfc(z / math.sqrt(2)) for z in (1, 2, 3)]
    assert shares[0] == pytest.approx(two_sided, rel=0.05)
    cut = [(share - two_sided[2]) / (1 - two_sided[2]) for share in two_sided]
    assert shares[1] == pytest.approx(cut, rel=0.05, abs=1e-9)


def test_blocks_names_and_seeds_have_numbers_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "BLOCK", 1000)
    drawn = []
    for seed, name in ((0, "a"), (0, "b"), (1, "a"), (2**32, "a")):
        x = torch.empty(30, 100)
        draw(x, seed, name, x.shape, (0, 0), Normal(1.0))
        drawn += x.split(10)
    correlations = torch.corrcoef(torch.stack([x.flatten() for x in drawn])) - torch.eye(len(drawn))
    assert correlations.abs().max() < 0.15  # 5 deviations of 1,000 numbers' chance


@given(data=st.data(), rows=st.integers(1, 40), columns=st.integers(1, 12), block=st.integers(1, 100))
def test_any_part_is_the_same_part_of_the_whole(data: st.DataObject, rows: int, columns: int, block: int) -> None:
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    bottom, right = data.draw(st.integers(top, rows)), data.draw(st.integers(left, columns))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(init, "BLOCK", block)
        whole, part = torch.empty(rows, columns), torch.full((bottom - top, right - left), math.nan)
        draw(whole, 3, "x", whole.shape, (0, 0), Normal(0.5, bound=3.0))
        draw(part, 3, "x", whole.shape, (top, left), Normal(0.5, bound=3.0))
    assert torch.equal(part, whole[top:bottom, left:right])


def test_only_the_blocks_of_the_own_part_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    original = init._block
    monkeypatch.setattr(init, "BLOCK", 100)
    monkeypatch.setattr(init, "_block", lambda key, *rest: drawn.append(key) or original(key, *rest))
    draw(torch.empty(15, 5), 0, "x", (100, 10), (30, 5), Normal(1.0))
    assert drawn == ["0 x 3", "0 x 4"]


def test_bfloat16_parameters_are_the_rounded_float32_ones() -> None:
    whole = build(4)
    with torch.device("meta"):
        model = Llama(CONFIG).to(torch.bfloat16)
    model.to_empty(device="cpu")
    init_weights(model, 4)
    for (name, a), b in zip(model.named_parameters(), whole.parameters(), strict=True):
        assert torch.equal(a, b.bfloat16()), name


def test_wrapped_modules_have_the_weights_of_plain_ones() -> None:
    plain, model = build(1, OPENLM), build(2, OPENLM)
    for number, block in enumerate(model.layers):
        model.layers[number] = nn.ModuleDict({"_checkpoint_wrapped_module": nn.ModuleDict({"_orig_mod": block})})
    init_weights(model, 1)
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("sizes", [(3,), (2, 2)])
@pytest.mark.parametrize("tied", [False, True])
def test_each_device_draws_its_part_of_what_one_device_draws(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], tied: bool
) -> None:
    """PyTorch splits the whole model's weights; drawn from nothing, each part must be the same."""
    monkeypatch.setattr(init, "BLOCK", 2000)
    config = OPENLM.model_copy(update={"n_layers": 1, "tie_embeddings": tied, "vocab_size": 1002})
    for rank in range(math.prod(sizes)):
        with device_of(rank, sizes) as mesh:
            model = build(5, config)
            split_over(model, mesh)
            expected = [local(parameter).clone() for parameter in model.parameters()]
            with torch.no_grad():
                for parameter in model.parameters():
                    local(parameter).fill_(math.nan)
            init_weights(model, 5)
            assert sum(x.numel() for x in expected) < 0.6 * sum(x.numel() for x in model.parameters())
            for (name, parameter), part in zip(model.named_parameters(), expected, strict=True):
                assert torch.equal(local(parameter), part), f"{name} of device {rank}"


def local(parameter: Tensor) -> Tensor:
    assert isinstance(parameter, DTensor)
    return parameter.to_local()


def test_distribution_of_every_kind_is_the_documented_formula() -> None:
    assert distribution(CONFIG, "layers.0.attention.wq.weight", 128) == Normal(0.03)
    assert distribution(CONFIG, "layers.7.feed_forward.w2.weight", 256) == Normal(0.03 / math.sqrt(16))
    assert distribution(OPENLM, "output.weight", 128) == Normal(1 / math.sqrt(128), 3.0)
    assert distribution(OPENLM, "layers.2.attention.wo.weight", 128) == Normal(1 / math.sqrt(128 * 6), 3.0)
