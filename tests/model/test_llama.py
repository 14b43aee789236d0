import pytest
import torch

from puna.config.recipe import ModelConfig
from puna.model.init import init_weights
from puna.model.llama import LayerNorm, Llama, RMSNorm, rope_table, rotate


def build(config: ModelConfig, seed: int = 0) -> Llama:
    model = Llama(config)
    init_weights(model, seed)
    return model


def tokens(config: ModelConfig, batch: int = 2, length: int | None = None) -> torch.Tensor:
    shape = (batch, length or config.context)
    return torch.randint(0, config.vocab_size, shape, generator=torch.Generator().manual_seed(1))


def test_rotation_is_multiplication_by_a_unit_complex_number() -> None:
    positions_T = torch.arange(7)
    x_BTNH = torch.randn(2, 7, 3, 10, dtype=torch.float64)
    cos, sin = rope_table(positions_T, 10, 10_000.0)
    pairs = torch.complex(x_BTNH[..., :5], x_BTNH[..., 5:])
    angles = positions_T.double()[:, None] * 10_000.0 ** (-torch.arange(0, 10, 2).double() / 10)
    turned = pairs * torch.polar(torch.ones_like(angles), angles)[:, None]
    expected = torch.cat((turned.real, turned.imag), dim=-1)
    torch.testing.assert_close(rotate(x_BTNH.float(), cos, sin).double(), expected, rtol=1e-5, atol=1e-5)


def test_rotated_scores_depend_on_the_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 16)
    scores = []
    for first, second in ((0, 5), (20, 25), (1000, 1005)):
        turned = [rotate(x, *rope_table(torch.tensor([p]), 16, 1e4)) for x, p in ((q, first), (k, second))]
        scores.append((turned[0] * turned[1]).sum())
    torch.testing.assert_close(torch.stack(scores), scores[0].expand(3), rtol=1e-3, atol=1e-3)


def test_norm_of_a_bfloat16_input_has_float32_statistics() -> None:
    x = (torch.randn(4, 4096) * 100).bfloat16()
    norm = RMSNorm(4096, 1e-6).bfloat16()
    exact = x.double() / x.double().square().mean(-1, keepdim=True).sqrt()
    assert norm(x).dtype == torch.bfloat16
    torch.testing.assert_close(norm(x), exact.bfloat16(), rtol=1e-2, atol=0)
    assert (norm(x) != exact.bfloat16()).double().mean() < 0.01


@pytest.mark.parametrize("bias", [False, True])
def test_layer_norm_is_torchs_and_has_float32_statistics(bias: bool) -> None:
    x = (torch.randn(4, 4096) * 100 + 30).bfloat16()
    norm = LayerNorm(4096, 1e-5, bias=bias).bfloat16()
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    assert [name for name, _ in norm.named_parameters()] == ["weight", "bias"][: 1 + bias]
    exact = torch.nn.functional.layer_norm(x.double(), (4096,), eps=1e-5).bfloat16() * norm.weight
    if norm.bias is not None:
        torch.nn.init.uniform_(norm.bias, -1, 1)
        exact += norm.bias
    assert norm(x).dtype == torch.bfloat16
    assert (norm(x) != exact).double().mean() < 0.01


def test_norms_of_queries_and_keys_make_their_scale_indifferent(config: ModelConfig) -> None:
    model, tokens_BT = build(config), tokens(config)
    with torch.no_grad():
        before = model(tokens_BT)
        for block in model.layers:
            block.attention.wq.weight *= 7
            block.attention.wk.weight *= 7
        changed = (model(tokens_BT) - before).abs().max()
    assert (changed < 1e-2) == config.qk_norm


def test_a_token_changes_nothing_before_it_and_something_after_it(config: ModelConfig) -> None:
    model = build(config)
    before_BT = tokens(config)
    after_BT = before_BT.clone()
    after_BT[:, 20] = (after_BT[:, 20] + 1) % config.vocab_size
    with torch.no_grad():
        difference_BT = (model(before_BT) - model(after_BT)).abs().amax(-1)
    assert difference_BT[:, :20].max() < 1e-5
    assert difference_BT[:, 20:].min() > 1e-3


def test_rows_of_a_batch_do_not_see_each_other(config: ModelConfig) -> None:
    model, tokens_BT = build(config), tokens(config, batch=3)
    with torch.no_grad():
        single = torch.cat([model(row_T[None]) for row_T in tokens_BT])
        torch.testing.assert_close(model(tokens_BT), single, rtol=1e-4, atol=1e-4)


def test_logits_are_the_output_layer_of_the_hidden_state(config: ModelConfig) -> None:
    model, tokens_BT = build(config), tokens(config)
    assert model.hidden(tokens_BT).shape == (2, config.context, config.dim)
    assert torch.equal(model(tokens_BT), model.output(model.hidden(tokens_BT)))


def test_tied_weights_stay_one_tensor_when_the_model_moves() -> None:
    config = ModelConfig(dim=16, n_layers=1, n_heads=2, n_kv_heads=2, ffn_dim=32, vocab_size=300, tie_embeddings=True)
    with torch.device("meta"):
        model = Llama(config)
    for move in (lambda: model.to_empty(device="cpu"), model.double, model.bfloat16):
        move()
        assert model.output.weight is model.tok_embeddings.weight
        assert "output.weight" not in dict(model.named_parameters())


def test_autocast_keeps_the_residual_stream_in_float32(config: ModelConfig) -> None:
    model, tokens_BT = build(config), tokens(config)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        x_BTD = model.hidden(tokens_BT)
        assert model(tokens_BT).dtype == torch.bfloat16
    assert x_BTD.dtype == torch.float32
    with torch.no_grad():
        exact_BTD = model.hidden(tokens_BT)
    assert (x_BTD - exact_BTD).norm() < 0.05 * exact_BTD.norm()


@pytest.mark.parametrize(
    "kind", [{"n_kv_heads": 2}, {"n_kv_heads": 1}, {"n_kv_heads": 2, "norm": "layer", "qk_norm": True}]
)
def test_a_block_compiles_without_a_graph_break(kind: dict[str, object]) -> None:
    shape = {"dim": 32, "n_layers": 1, "n_heads": 2, "ffn_dim": 64, "vocab_size": 300, "init_std": 0.2}
    config = ModelConfig.model_validate(shape | kind)
    block = build(config).layers[0]
    cos, sin = rope_table(torch.arange(8), config.head_dim, config.rope_theta)
    x_BTD = torch.randn(2, 8, 32)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    eager_input, compiled_input = (x_BTD.clone().requires_grad_() for _ in range(2))
    block(eager_input, cos, sin).square().sum().backward()
    compiled(compiled_input, cos, sin).square().sum().backward()
    torch.testing.assert_close(compiled_input.grad, eager_input.grad, rtol=1e-4, atol=1e-4)
