"""Dropout and NEFTune: what they draw, and on what that depends; tests/parallel/test_apply.py has every layout."""

from typing import Any

import pytest
import torch

from puna.config.finetune import FinetuneConfig
from puna.config.model import ModelConfig
from puna.finetune.noise import Noise, Noisy, apply_noise
from puna.model import lora
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.parallel.mesh import Mesh
from puna.parallel.objective import Objective, Passed

ALONE = Mesh(replicate=1, shard=1, context=1, tensor=1, rank=0)
SITE = torch.tensor(7, dtype=torch.int32)
CONFIG = ModelConfig(dim=32, n_layers=2, n_heads=4, n_kv_heads=4, ffn_dim=48, vocab_size=288, context=16)


def passed(rows: int, tokens: int, first: int = 0, documents: list[list[int]] | None = None) -> Passed:
    """A pass of sequences from the `first` of the run on; sequence n has tokens that depend on n alone."""
    ids = (torch.arange(first, first + rows)[:, None] * 31 + torch.arange(tokens) * 7) % 288
    marks = None if documents is None else torch.tensor(documents)
    return Passed(inputs_BT=ids, targets_BT=(ids + 1) % 288, first=first, documents_BT=marks)


def noise_of(*, dropout: float = 0.0, neftune: float = 0.0, seed: int = 3, mesh: Mesh = ALONE) -> Noise:
    """Noise that no model has yet."""
    return Noise(mesh, dropout=dropout, neftune=neftune, seed=seed)


def noisy_model(**settings: float) -> tuple[Llama, Objective, Noisy]:
    """A small model with noise, its objective without, and that with."""
    model = Llama(CONFIG)
    init_weights(model, 1)
    noise = apply_noise(model, ALONE, FinetuneConfig(**settings), seed=3)
    assert noise is not None
    objective = Objective(model, ALONE, chunk_tokens=64)
    return model, objective, Noisy(objective, noise)


def ones(rows: int, tokens: int, features: int) -> torch.Tensor:
    """Values that show by themselves what was dropped."""
    return torch.ones(rows, tokens, features)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    noise = noise_of(dropout=share)
    noise.begin(passed(8, 64))
    kept = noise.dropped(ones(8, 64, 256), SITE)
    deviation = (share * (1 - share) / kept.numel()) ** 0.5
    assert (kept == 0).float().mean().item() == pytest.approx(share, abs=5 * deviation)
    assert kept[kept != 0].unique().tolist() == pytest.approx([1 / (1 - share)])


def test_neighbouring_sequences_tokens_features_and_places_are_dropped_independently() -> None:
    noise = noise_of(dropout=0.5)
    noise.begin(passed(16, 64))
    values = noise.dropped(ones(16, 64, 128), SITE)
    other_place = noise.dropped(ones(16, 64, 128), torch.tensor(8, dtype=torch.int32))
    pairs = [
        (values[1:], values[:-1]), (values[:, 1:], values[:, :-1]), (values[..., 1:], values[..., :-1]),
        (values, other_place),
    ]  # fmt: skip
    for one, other in pairs:
        both = ((one != 0) & (other != 0)).float().mean().item()
        assert both == pytest.approx(0.25, abs=5 * (0.1875 / one.numel()) ** 0.5)


def test_what_is_drawn_depends_on_the_seed_and_the_number_of_the_sequence_alone() -> None:
    def drawn(rows: int, first: int, seed: int = 3) -> torch.Tensor:
        noise = noise_of(dropout=0.3, seed=seed)
        noise.begin(passed(rows, 8, first))
        return noise.dropped(ones(rows, 8, 16), SITE)

    whole = drawn(6, 100)
    assert torch.equal(torch.cat((drawn(2, 100), drawn(4, 102))), whole)
    assert not torch.equal(drawn(6, 101), whole)
    assert not torch.equal(drawn(6, 100, seed=4), whole)
    assert torch.equal(drawn(1, 2**62)[0], drawn(2, 2**62)[0])


def test_neftune_adds_uniform_noise_of_at_most_alpha_over_the_root_of_length_times_width() -> None:
    """Jain et al. 2024, algorithm 1: uniform in [-1, 1], times alpha / sqrt(L d)."""
    noise = noise_of(neftune=5.0)
    noise.begin(passed(8, 64))
    added = noise.added(torch.zeros(8, 64, 256), SITE)
    bound = 5.0 / (64 * 256) ** 0.5
    assert added.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert added.abs().max() <= bound
    assert added.mean().item() == pytest.approx(0, abs=5 * bound / (3 * added.numel()) ** 0.5)
    assert added.square().mean().item() == pytest.approx(bound**2 / 3, rel=0.01)


def test_neftune_counts_the_tokens_of_each_packed_example_by_itself() -> None:
    noise = noise_of(neftune=5.0)
    noise.begin(passed(2, 8, documents=[[0, 0, 0, 0, 0, 1, 2, 2], [4, 4, 5, 5, 5, 5, 5, 5]]))
    packed = noise.added(torch.zeros(2, 8, 512), SITE)
    noise.begin(passed(2, 8))
    whole = noise.added(torch.zeros(2, 8, 512), SITE)
    lengths = torch.tensor([[5, 5, 5, 5, 5, 1, 2, 2], [2, 2, 6, 6, 6, 6, 6, 6]])
    torch.testing.assert_close(packed, whole * (8 / lengths).sqrt()[:, :, None])


@pytest.mark.parametrize(("context", "tensor"), [(1, 2), (2, 1), (2, 2), (4, 1)])
def test_devices_that_share_a_sequence_draw_the_parts_of_what_one_device_draws(context: int, tensor: int) -> None:
    pass_of_all, found = passed(3, 16, documents=[[0] * 5 + [1] * 11] * 3), torch.full((3, 16, 8), float("nan"))
    whole = noise_of(neftune=5.0)
    whole.begin(pass_of_all)
    for rank in range(context * tensor):
        part = noise_of(neftune=5.0, mesh=Mesh(replicate=1, shard=1, context=context, tensor=tensor, rank=rank))
        part.begin(pass_of_all)
        # Llama 3, section 3.3.2: device i of n has parts i and 2 n - 1 - i; tensor parallelism cuts these in a row.
        parts = torch.arange(16).chunk(2 * context)
        own = torch.cat((parts[rank // tensor], parts[2 * context - 1 - rank // tensor])).chunk(tensor)[rank % tensor]
        found[:, own] = part.added(torch.zeros(3, len(own), 8), SITE)
    assert torch.equal(found, whole.added(torch.zeros(3, 16, 8), SITE))


def test_a_recipe_without_noise_leaves_the_model_as_it_was() -> None:
    model = Llama(CONFIG)
    assert apply_noise(model, ALONE, FinetuneConfig(), seed=3) is None
    assert {type(block.attention).__name__ for block in model.blocks()} == {"Attention"}


def test_dropout_is_after_the_embedding_and_after_each_half_of_a_block() -> None:
    model, _, noisy = noisy_model(dropout=0.5)
    zeros: dict[str, float] = {}
    halves = {f"layers.{number}.{name}" for number in range(2) for name in ("attention", "feed_forward")}
    for name, module in model.named_modules():
        if name.endswith("norm"):  # what it makes of a dropped value is zero too
            continue
        module.register_forward_hook(
            lambda module, inputs, output, name=name: zeros.__setitem__(name, (output == 0).float().mean().item())
        )
    noisy.train(passed(4, 16))
    dropped = {name for name, share in zeros.items() if share > 0.4}
    assert dropped == {"tok_embeddings", *halves}


def test_without_gradients_nothing_is_drawn() -> None:
    """Validation, evaluations and samples compute so, also in the middle of a run."""
    model, objective, noisy = noisy_model(dropout=0.3, neftune=5.0)
    clean = Llama(CONFIG)
    init_weights(clean, 1)
    expected = Objective(clean, ALONE, chunk_tokens=64).measure(passed(2, 16))
    noisy.train(passed(2, 16))
    assert torch.equal(objective.measure(passed(2, 16)), expected)
    with torch.no_grad():
        assert torch.equal(model(passed(2, 16).inputs_BT), clean(passed(2, 16).inputs_BT))


def gradients(model: Llama, noisy: Noisy, passes: list[Passed]) -> dict[str, torch.Tensor]:
    """The sum of the gradients of some passes."""
    model.zero_grad(set_to_none=True)
    with noisy.passes():
        for each in passes:
            total, _ = noisy.train(each)
            total.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def test_gradients_do_not_depend_on_how_a_batch_is_cut_into_passes() -> None:
    model, _, noisy = noisy_model(dropout=0.3, neftune=5.0)
    whole = gradients(model, noisy, [passed(4, 16, 12)])
    cut = gradients(model, noisy, [passed(1, 16, 12), passed(3, 16, 13)])
    assert len(whole) == len(dict(model.named_parameters()))
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, rtol=1e-5, atol=1e-6)


def test_noise_changes_gradients_and_the_next_sequences_have_other_noise() -> None:
    model, _, noisy = noisy_model(dropout=0.3)
    first = gradients(model, noisy, [passed(1, 16)])
    same_tokens: dict[str, Any] = {"inputs_BT": passed(1, 16).inputs_BT, "targets_BT": passed(1, 16).targets_BT}
    other = gradients(model, noisy, [Passed(**same_tokens, first=1)])
    again = gradients(model, noisy, [passed(1, 16)])
    assert all(torch.equal(again[name], first[name]) for name in first)
    assert not any(torch.equal(other[name], first[name]) for name in first)


def test_names_of_parameters_and_their_values_are_as_before() -> None:
    model, _, _ = noisy_model(dropout=0.3, neftune=5.0)
    clean = Llama(CONFIG)
    init_weights(clean, 1)
    assert [*model.state_dict()] == [*clean.state_dict()]
    assert all(torch.equal(value, clean.state_dict()[name]) for name, value in model.state_dict().items())


def test_inputs_of_updates_are_dropped_while_training_and_the_frozen_product_is_not() -> None:
    model = Llama(ModelConfig(dim=32, n_layers=1, n_heads=2, n_kv_heads=2, ffn_dim=48, vocab_size=300, context=16))
    init_weights(model, 0)
    tuning = FinetuneConfig.model_validate({"method": "lora", "lora": {"rank": 2, "dropout": 0.5}})
    lora.apply(model, tuning)
    layer = model.blocks()[0].feed_forward.w1
    update = lora.update_of(layer)
    update.b.data.fill_(1.0)
    mesh = Mesh(replicate=1, shard=1, context=1, tensor=1, rank=0)
    noise = apply_noise(model, mesh, tuning, seed=3)
    assert noise is not None
    x_BTD = torch.ones(4, 16, 32)
    with torch.no_grad():
        plain = layer(x_BTD)
    tokens_BT = torch.zeros(4, 16, dtype=torch.int64)
    noise.begin(Passed(inputs_BT=tokens_BT, targets_BT=tokens_BT))
    assert update.site is not None
    kept_BTD = noise.dropped_input(x_BTD, update.site)
    assert set(kept_BTD.unique().tolist()) == {0.0, 2.0}
    assert abs((kept_BTD == 0).float().mean().item() - 0.5) < 0.06
    expected = x_BTD @ layer.weight.T + update.scale * (kept_BTD @ update.a.T @ update.b.T)
    torch.testing.assert_close(layer(x_BTD), expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert torch.equal(layer(x_BTD), plain)
