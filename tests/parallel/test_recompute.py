"""Recomputation changes what is kept and not one bit of what comes out."""

import pytest
import torch

from puna.config.recipe import ModelConfig
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.parallel.recompute import apply_recompute

CONFIG = ModelConfig(dim=32, n_layers=4, n_heads=4, n_kv_heads=2, ffn_dim=48, vocab_size=288, context=256)


def _run(policy: str, *, compile: bool = False, on_cpu: bool = False) -> tuple[torch.Tensor, list[torch.Tensor], int]:
    """The stream, all gradients, and the bytes that the blocks keep for the backward pass."""
    model = Llama(CONFIG)
    init_weights(model, 0)
    apply_recompute(model, policy, compile=compile, on_cpu=on_cpu)
    tokens = torch.arange(256)[None] % 288
    kept: dict[int, int] = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        x = model.hidden(tokens)
    x.square().mean().backward()
    return x.detach(), [p.grad for p in model.parameters() if p.grad is not None], sum(kept.values())


@pytest.mark.parametrize("policy", ["full", "every-2", "every-3", "llama"])
def test_policy_changes_no_bit(policy: str):
    plain, ours = _run("none"), _run(policy)
    assert torch.equal(plain[0], ours[0])
    assert len(plain[1]) == len(ours[1]) == 38
    assert all(torch.equal(a, b) for a, b in zip(plain[1], ours[1], strict=True))


@pytest.mark.parametrize("policy", ["none", "full", "llama", "budget=0.3"])
def test_compiled_policy_gives_the_same_to_rounding(policy: str):
    plain, ours = _run("none"), _run(policy, compile=True)
    torch.compiler.reset()
    torch.testing.assert_close(plain[0], ours[0], rtol=1e-4, atol=1e-5)
    for a, b in zip(plain[1], ours[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_compiled_for_a_cpu_no_operand_is_kept_that_is_cheap_to_make_again():
    everywhere = _run("none", compile=True)
    torch.compiler.reset()
    on_cpu = _run("none", compile=True, on_cpu=True)
    torch.compiler.reset()
    # Of each block: both norms' outputs, and SwiGLU's.
    assert everywhere[2] - on_cpu[2] == CONFIG.n_layers * 256 * (2 * CONFIG.dim + CONFIG.ffn_dim) * 4
    torch.testing.assert_close(everywhere[0], on_cpu[0], rtol=1e-4, atol=1e-5)
    for a, b in zip(everywhere[1], on_cpu[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_full_keeps_only_the_inputs_of_blocks():
    bytes_of_stream = 256 * 32 * 4
    none, full, every_2 = (_run(policy)[2] for policy in ("none", "full", "every-2"))
    # Four inputs, the final norm's tensors, rotary tables.
    assert full < 12 * bytes_of_stream
    assert full < every_2 < none
    assert none > 4 * full


def test_unknown_policy_is_a_defect_of_the_caller():
    with pytest.raises(ValueError, match="sometimes"):
        apply_recompute(Llama(CONFIG), "sometimes")
