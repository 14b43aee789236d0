"""Weights of 8 bits answer nearly as the model does."""

import pytest
import torch

from puna.config.recipe import ModelConfig
from puna.infer.weight_only import quantize_weights
from puna.model.init import init_weights
from puna.model.llama import Llama


@pytest.mark.parametrize("tied", [False, True])
def test_integers_have_one_scale_for_each_output(tied: bool) -> None:
    config = ModelConfig(
        dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=128, vocab_size=300, context=64, tie_embeddings=tied
    )
    model = Llama(config).requires_grad_(False)
    init_weights(model, 0)
    exact = Llama(config).requires_grad_(False)
    exact.load_state_dict(model.state_dict())
    quantize_weights(model)
    rounded = Llama(config).requires_grad_(False)
    rounded.load_state_dict(exact.state_dict())
    quantized = set()
    for (name, weight), found in zip(rounded.named_parameters(), model.parameters(), strict=True):
        if type(found) is not torch.nn.Parameter:
            quantized.add(name)
            step_N1 = weight.abs().amax(1, keepdim=True) / 127.5
            assert ((found.dequantize() - weight).abs() <= 0.501 * step_N1).all()
            weight.copy_(found.dequantize())
    blocks = {name for name, weight in exact.named_parameters() if name.startswith("layers") and weight.dim() == 2}
    assert quantized == (blocks if tied else blocks | {"output.weight"})
    tokens_BT = torch.randint(300, (2, 12), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(tokens_BT), rounded(tokens_BT), atol=1e-5, rtol=1e-4)
    assert 1e-4 < (model(tokens_BT) - exact(tokens_BT)).abs().max() < 0.02
