"""The peers of bench/gpu.py: transformers' LLaMA on the same GPU, in the same run."""

from typing import Any

import torch
import torch.nn.functional as F
from gpu_common import BATCH, Bench, T, clean

from puna.config.recipe import Recipe
from puna.plan.count import flops_per_token


def peers(bench: Bench) -> None:
    """Transformers' LLaMA, compiled, with PyTorch's attention and fused AdamW: float32 weights under autocast."""
    from transformers import LlamaConfig, LlamaForCausalLM

    for size in ("1b", "7b"):
        micros = (16_384, 8192, 4096, 2048)
        for micro in micros:
            recipe = bench.recipe(size, micro)
            clean(bench)
            numbers = recipe.model
            config = LlamaConfig(
                hidden_size=numbers.dim, num_hidden_layers=numbers.n_layers, num_attention_heads=numbers.n_heads,
                num_key_value_heads=numbers.n_kv_heads, intermediate_size=numbers.ffn_dim,
                vocab_size=numbers.vocab_size, max_position_embeddings=numbers.context, attn_implementation="sdpa",
                use_cache=False,
            )  # fmt: skip
            # 7B with float32 weights and moments does not fit into one GPU with what transformers keeps.
            dtype = torch.float32 if size == "1b" else torch.bfloat16
            try:
                figures = _transformers(bench, LlamaForCausalLM, config, recipe, dtype)
            except torch.OutOfMemoryError as error:
                bench.say("step", size=size, system="transformers", micro_batch_tokens=micro, problem=str(error)[:100])
                continue
            bench.say("step", size=size, system="transformers", **figures)
            break


def _transformers(bench: Bench, kind: Any, config: Any, recipe: Recipe, dtype: torch.dtype) -> dict[str, Any]:
    with torch.device(bench.world.device):
        model = kind._from_config(config, dtype=dtype).train()
    forward = model if bench.dry else torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    micro = recipe.train.micro_batch_tokens
    shape = (micro // recipe.model.context, recipe.model.context + 1)
    tokens_BT = torch.randint(recipe.model.vocab_size, shape, device=bench.world.device)

    def one_pass() -> None:
        with torch.autocast(bench.world.device.type, torch.bfloat16, enabled=dtype == torch.float32):
            logits_BTV = forward(tokens_BT[:, :-1]).logits
            loss = F.cross_entropy(logits_BTV.flatten(0, 1).float(), tokens_BT[:, 1:].flatten())
        loss.backward()

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    pass_ms = bench.milliseconds(one_pass, runs=5)
    update_ms = bench.milliseconds(update, runs=3, warm=1)
    flops = flops_per_token(recipe.model, recipe.model.context)["causal"] * micro
    passes = BATCH * recipe.model.context // T / micro
    whole = passes * pass_ms + update_ms
    memory = bench.device.peak_memory_bytes() / 2**30
    return {
        "micro_batch_tokens": micro,
        "precision": "bf16, weights too" if dtype == torch.bfloat16 else "bf16",
        "pass_ms": pass_ms,
        "update_ms": update_ms,
        "tokens_per_second": 1e3 * passes * micro / whole,
        "mfu": passes * flops / whole / (bench.device.peak_flops / 1e3),
        "memory_gib": memory,
    }
