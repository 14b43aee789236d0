"""The decoder against an independent implementation: transformers' LlamaForCausalLM, in float32."""

import pytest
import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.export.names import huggingface_names
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.ops.cross_entropy import linear_cross_entropy

transformers = pytest.importorskip("transformers")


def pair(config: ModelConfig) -> tuple[Llama, torch.nn.Module]:
    """Both implementations with the same weights."""
    ours = Llama(config)
    init_weights(ours, 0)
    for name, parameter in ours.named_parameters():
        if name.endswith("norm.weight"):  # a gain of one would hide a gain in the wrong place
            torch.nn.init.uniform_(parameter, 0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=config.vocab_size, hidden_size=config.dim, intermediate_size=config.ffn_dim,
            num_hidden_layers=config.n_layers, num_attention_heads=config.n_heads,
            num_key_value_heads=config.n_kv_heads, max_position_embeddings=config.context,
            rms_norm_eps=config.norm_eps, tie_word_embeddings=config.tie_embeddings,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        )
    )  # fmt: skip
    names = huggingface_names(config)
    state = {names[name]: parameter.detach() for name, parameter in ours.named_parameters()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert missing == (["lm_head.weight"] if config.tie_embeddings else [])
    assert unexpected == []
    return ours, theirs


def tokens(config: ModelConfig) -> Tensor:
    shape = (3, config.context + 1)
    return torch.randint(0, config.vocab_size, shape, generator=torch.Generator().manual_seed(1))


def test_logits_equal_those_of_transformers(config: ModelConfig) -> None:
    ours, theirs = pair(config)
    with torch.no_grad():
        expected_BTV = theirs(tokens(config)[:, :-1]).logits
        logits_BTV = ours(tokens(config)[:, :-1])
    assert expected_BTV.std() > 0.5
    assert (logits_BTV - expected_BTV).abs().max() <= 1e-5


def test_gradients_of_every_parameter_equal_those_of_transformers(config: ModelConfig) -> None:
    ours, theirs = pair(config)
    inputs_BT, targets_N = tokens(config)[:, :-1], tokens(config)[:, 1:].flatten()
    loss = torch.nn.functional.cross_entropy(theirs(inputs_BT).logits.flatten(0, 1), targets_N)
    loss.backward()
    total = linear_cross_entropy(ours.hidden(inputs_BT).flatten(0, 1), ours.output.weight, targets_N, chunk=50)
    (total / len(targets_N)).backward()
    assert abs(total.item() / len(targets_N) - loss.item()) <= 1e-5
    expected = dict(theirs.named_parameters())
    for mine, name in huggingface_names(config).items():
        gradient, reference = ours.get_parameter(mine).grad, expected[name].grad
        assert reference.abs().max() > 1e-4, name
        assert (gradient - reference).abs().max() <= 1e-5, name


def test_bfloat16_autocast_is_as_close_to_float32_as_that_of_transformers(config: ModelConfig) -> None:
    ours, theirs = pair(config)
    inputs_BT = tokens(config)[:, :-1]
    with torch.no_grad():
        exact_BTV = theirs(inputs_BT).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mine, reference = ours(inputs_BT) - exact_BTV, theirs(inputs_BT).logits - exact_BTV
    assert reference.norm() > 0
    assert mine.norm() <= 1.2 * reference.norm()
