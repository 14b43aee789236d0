"""The decoder against independent ones: transformers' LlamaForCausalLM in float32, and a slow OpenLM in float64."""

import math

import pytest
import torch
from torch import Tensor

from puna.config.load import load_recipe
from puna.config.recipe import ModelConfig
from puna.formats.table import weights
from puna.model.init import init_weights
from puna.model.llama import Llama, rope_frequencies
from puna.ops.cross_entropy import linear_cross_entropy

transformers = pytest.importorskip("transformers")


def scaling(config: ModelConfig) -> dict[str, object]:
    """The rotary scaling in transformers' words."""
    ours = config.rope_scaling
    if ours is None:
        return {"rope_type": "default"}
    names = {} if ours.kind == "linear" else {"original_context": "original_max_position_embeddings"}
    keys = ["factor"] if ours.kind == "linear" else ["factor", "low_freq_factor", "high_freq_factor", *names]
    return {"rope_type": ours.kind} | {names.get(key, key): getattr(ours, key) for key in keys}


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
            num_key_value_heads=config.n_kv_heads, head_dim=config.head_dim, max_position_embeddings=config.context,
            rms_norm_eps=config.norm_eps, tie_word_embeddings=config.tie_embeddings,
            rope_parameters={"rope_theta": config.rope_theta, **scaling(config)},
        )
    )  # fmt: skip
    names = {weight.name: weight.hf for weight in weights(config)}
    state = {names[name]: parameter.detach() for name, parameter in ours.named_parameters()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert missing == (["lm_head.weight"] if config.tie_embeddings else [])
    assert unexpected == []
    return ours, theirs


def tokens(config: ModelConfig) -> Tensor:
    shape = (3, config.context + 1)
    return torch.randint(0, config.vocab_size, shape, generator=torch.Generator().manual_seed(1))


def test_logits_equal_those_of_transformers(llama_config: ModelConfig) -> None:
    ours, theirs = pair(llama_config)
    with torch.no_grad():
        expected_BTV = theirs(tokens(llama_config)[:, :-1]).logits
        logits_BTV = ours(tokens(llama_config)[:, :-1])
    assert expected_BTV.std() > 0.5
    assert (logits_BTV - expected_BTV).abs().max() <= 1e-5


def test_gradients_of_every_parameter_equal_those_of_transformers(llama_config: ModelConfig) -> None:
    ours, theirs = pair(llama_config)
    inputs_BT, targets_N = tokens(llama_config)[:, :-1], tokens(llama_config)[:, 1:].flatten()
    loss = torch.nn.functional.cross_entropy(theirs(inputs_BT).logits.flatten(0, 1), targets_N)
    loss.backward()
    total, _ = linear_cross_entropy(ours.hidden(inputs_BT).flatten(0, 1), ours.output.weight, targets_N, chunk=50)
    (total / len(targets_N)).backward()
    assert abs(total.item() / len(targets_N) - loss.item()) <= 1e-5
    expected = dict(theirs.named_parameters())
    for weight in weights(llama_config):
        gradient, reference = ours.get_parameter(weight.name).grad, expected[weight.hf].grad
        assert reference.abs().max() > 1e-4, weight.name
        assert (gradient - reference).abs().max() <= 1e-5, weight.name


def test_bfloat16_autocast_is_as_close_to_float32_as_that_of_transformers(llama_config: ModelConfig) -> None:
    ours, theirs = pair(llama_config)
    inputs_BT = tokens(llama_config)[:, :-1]
    with torch.no_grad():
        exact_BTV = theirs(inputs_BT).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mine, reference = ours(inputs_BT) - exact_BTV, theirs(inputs_BT).logits - exact_BTV
    assert reference.norm() > 0
    assert mine.norm() <= 1.2 * reference.norm()


def test_rotary_frequencies_are_those_of_transformers(llama_config: ModelConfig) -> None:
    theirs = pair(llama_config)[1].model.rotary_emb.inv_freq
    ours = rope_frequencies(llama_config.head_dim, llama_config.rope_theta, llama_config.rope_scaling)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_rotary_frequencies_of_llama_3_1_are_those_of_transformers() -> None:
    config = load_recipe("llama3.1-8b").recipe.model
    theirs = transformers.LlamaConfig(
        hidden_size=config.dim, num_attention_heads=config.n_heads, max_position_embeddings=config.context,
        rope_parameters={"rope_theta": 500_000.0, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
    )  # fmt: skip
    expected = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(theirs).inv_freq
    ours = rope_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)
    plain = rope_frequencies(config.head_dim, config.rope_theta)
    kept, divided = torch.isclose(ours, plain), torch.isclose(ours * 8, plain)
    assert kept.sum() > 20
    assert divided.sum() > 20
    assert (~kept & ~divided).any()  # those in between


def slow_openlm(model: Llama, tokens_T: Tensor) -> Tensor:
    """OpenLM's decoder for one sequence in float64: one position, one head and one pair at a time."""
    config = model.config
    w = {name: parameter.detach().double() for name, parameter in model.named_parameters()}
    width, group = config.head_dim, config.n_heads // config.n_kv_heads

    def norm(x: Tensor, of: dict[str, Tensor], name: str) -> Tensor:
        if config.norm != "rms":
            x = x - x.mean()
        return of[f"{name}.weight"] * x / (x.square().mean() + config.norm_eps).sqrt() + of.get(f"{name}.bias", 0)

    def turned(x: Tensor, position: int, number: int) -> Tensor:
        count = number if config.rotary == "head" else position
        out = x.clone()
        for i in range(width // 2):
            angle = count * config.rope_theta ** (-2 * i / width)
            a, b = x[i], x[i + width // 2]
            out[i] = a * math.cos(angle) - b * math.sin(angle)
            out[i + width // 2] = b * math.cos(angle) + a * math.sin(angle)
        return out

    stream = [w["tok_embeddings.weight"][token] for token in tokens_T]
    for layer in range(config.n_layers):
        of = {name.removeprefix(f"layers.{layer}."): x for name, x in w.items() if name.startswith(f"layers.{layer}.")}
        keys: list[Tensor] = []
        values: list[Tensor] = []
        for position, x in enumerate(stream):
            h = norm(x, of, "attention_norm")
            q, k, v = (of[f"attention.{name}.weight"] @ h for name in ("wq", "wk", "wv"))
            if config.qk_norm:
                q, k = norm(q, of, "attention.q_norm"), norm(k, of, "attention.k_norm")
            keys.append(torch.stack([turned(head, position, number) for number, head in enumerate(k.split(width))]))
            values.append(torch.stack(v.split(width)))
            heads = []
            for number, head in enumerate(q.split(width)):
                scores = torch.stack([turned(head, position, number) @ key[number // group] for key in keys])
                weights = (scores / math.sqrt(width)).softmax(0)
                heads.append(sum(a * value[number // group] for a, value in zip(weights, values, strict=True)))
            x = x + of["attention.wo.weight"] @ torch.cat(heads)
            h = norm(x, of, "ffn_norm")
            gate, up = of["feed_forward.w1.weight"] @ h, of["feed_forward.w3.weight"] @ h
            stream[position] = x + of["feed_forward.w2.weight"] @ (gate * gate.sigmoid() * up)
    return torch.stack([w["output.weight"] @ norm(x, w, "norm") for x in stream])


def test_logits_equal_those_of_a_slow_float64_openlm(other_config: ModelConfig) -> None:
    model = Llama(other_config)
    init_weights(model, 0)
    for name, parameter in model.named_parameters():
        if "norm." in name:
            low, high = (0.5, 1.5) if name.endswith("weight") else (-0.3, 0.3)
            torch.nn.init.uniform_(parameter, low, high, generator=torch.Generator().manual_seed(len(name)))
    tokens_T = tokens(other_config)[0, :24]
    with torch.no_grad():
        logits_TV = model(tokens_T[None])[0]
    expected_TV = slow_openlm(model, tokens_T)
    assert expected_TV.std() > 0.5
    assert (logits_TV - expected_TV).abs().max() <= 1e-5
