"""One system's training steps on the 60M configuration; prints one JSON line. Run by train_cpu.py, one process each.

The configuration of every system: D 512, 8 layers, 8 heads, F 1536, V 32,000, T 512, 8 sequences, float32, fused
AdamW, gradients clipped at 1.0, the same random tokens. Axes as in puna.model.llama.
"""

import argparse
import hashlib
import json
import resource
import statistics
import sys
import time
import types
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

D, LAYERS, HEADS, F, V, T, B = 512, 8, 8, 1536, 32_000, 512, 8
LR, BETAS, DECAY, CLIP = 1e-3, (0.9, 0.95), 0.1, 1.0

LEFT, RIGHT, PRODUCT = torch.randn(3, 2048, 2048)

Loss = Callable[[Tensor], Tensor]
"""From tokens (B, T + 1) to the mean loss, with its graph."""


class System(NamedTuple):
    """What one step of a system is made of."""

    model: torch.nn.Module
    loss: Loss
    passes: Callable[[], AbstractContextManager[Any]] = nullcontext
    """What forward and backward run in."""
    update: Callable[[], None] | None = None
    """Clip and move the weights, where the system has its own way; else PyTorch's fused AdamW after its clipping."""


def puna(compiled: bool) -> System:
    """Ours, as `puna train` runs it: its model, objective, clipping and optimizer."""
    from puna.config.recipe import ModelConfig, OptimConfig, Recipe, TrainConfig
    from puna.parallel.apply import build_model
    from puna.parallel.mesh import build_mesh
    from puna.parallel.objective import Objective, Passed
    from puna.parallel.world import joined
    from puna.train.gradient import clip_divisor, gradient_norm
    from puna.train.optimizer import build_optimizer

    recipe = Recipe(
        name="bench",
        model=ModelConfig(dim=D, n_layers=LAYERS, n_heads=HEADS, n_kv_heads=HEADS, ffn_dim=F, vocab_size=V, context=T),
        train=TrainConfig(
            tokens=64 * B * T, batch_tokens=B * T, micro_batch_tokens=B * T, precision="fp32", recompute="none",
            compile=compiled,
        ),
        optim=OptimConfig(lr=LR, beta1=BETAS[0], beta2=BETAS[1], weight_decay=DECAY, clip_norm=CLIP, warmup_steps=1),
    )  # fmt: skip
    with joined() as world:
        mesh = build_mesh(recipe.parallel, world)
    model = build_model(recipe, mesh, world.device)
    objective = Objective.of(recipe, model, mesh)
    optimizer = build_optimizer(model, recipe.optim)

    def loss(tokens_BT: Tensor) -> Tensor:
        return objective.train(Passed(inputs_BT=tokens_BT[:, :-1], targets_BT=tokens_BT[:, 1:]))[0] / (B * T)

    def update() -> None:
        optimizer.step(clip_divisor(gradient_norm(model), CLIP))
        optimizer.zero_grad()

    return System(model, loss, objective.passes, update)


def transformers(compiled: bool) -> System:
    """Hugging Face's LlamaForCausalLM with SDPA attention, its own loss on logits that we hand the targets."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=D, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=HEADS,
        intermediate_size=F, vocab_size=V, max_position_embeddings=T, attn_implementation="sdpa", use_cache=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config).train()
    forward = torch.compile(model) if compiled else model

    def loss(tokens_BT: Tensor) -> Tensor:
        logits_BTV = forward(tokens_BT[:, :-1]).logits
        return torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten())

    return System(model, loss)


def litgpt(compiled: bool) -> System:
    """The GPT of litgpt as its `pretrain` uses it: compiled model, chunked cross-entropy over full logits."""
    from litgpt.config import Config
    from litgpt.model import GPT
    from litgpt.utils import chunked_cross_entropy

    config = Config(
        block_size=T, vocab_size=V, padded_vocab_size=V, n_layer=LAYERS, n_head=HEADS, n_query_groups=HEADS,
        n_embd=D, intermediate_size=F, rotary_percentage=1.0, parallel_residual=False, bias=False,
        norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP",
    )  # fmt: skip
    model = GPT(config)
    forward = torch.compile(model) if compiled else model

    def loss(tokens_BT: Tensor) -> Tensor:
        return chunked_cross_entropy(forward(tokens_BT[:, :-1]), tokens_BT[:, 1:])

    return System(model, loss)


def open_lm(compiled: bool) -> System:
    """OpenLM's Transformer with RMSNorm, PyTorch's attention and its SwiGLU, and the loss that its `train` takes."""
    try:
        import xformers  # noqa: F401
    except ImportError:
        # It is imported without being asked for anything here: its operators are for GPUs.
        package, operators = types.ModuleType("xformers"), types.ModuleType("xformers.ops")
        vars(package)["ops"] = operators
        sys.modules |= {"xformers": package, "xformers.ops": operators}
    from open_lm.attention import torch_attn
    from open_lm.model import Params, Transformer
    from open_lm.norms import get_norm_class

    model = Transformer(
        Params(
            dim=D, n_layers=LAYERS, n_heads=HEADS, vocab_size=V, seq_len=T, norm_type=get_norm_class("rms_norm"),
            attn_func=torch_attn, ffn_type="swiglu_torch",
        )
    )  # fmt: skip
    forward = torch.compile(model) if compiled else model

    def loss(tokens_BT: Tensor) -> Tensor:
        logits_BTV, _, _ = forward(tokens_BT[:, :-1])
        return torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten())

    return System(model, loss)


SYSTEMS = {"puna": puna, "transformers": transformers, "litgpt": litgpt, "open_lm": open_lm}


def pytorch_update(model: torch.nn.Module) -> Callable[[], None]:
    """PyTorch's clipping and fused AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=BETAS, weight_decay=DECAY, fused=True)

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()

    return update


def matmul_rate() -> float:
    """FLOP/s of square float32 matrix products of 2,048 now, the mean of three."""
    started = time.perf_counter()
    for _ in range(3):
        torch.mm(LEFT, RIGHT, out=PRODUCT)
    return 3 * 2 * 2048**3 / (time.perf_counter() - started)


def main() -> None:
    """Warm up, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=tuple(SYSTEMS))
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="print where one more step's time goes, on stderr")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    system = SYSTEMS[arguments.system](arguments.compiled)
    update = system.update or pytorch_update(system.model)
    tokens_BT = torch.randint(0, V, (B, T + 1), generator=torch.Generator().manual_seed(0))

    def step() -> float:
        with system.passes():
            loss = system.loss(tokens_BT)
            loss.backward()
        update()
        return loss.item()

    matmul_rate()
    seconds, losses, rates = [], [], [matmul_rate()]
    for _ in range(arguments.steps + 2):
        started = time.perf_counter()
        losses.append(step())
        seconds.append(time.perf_counter() - started)
        rates.append(matmul_rate())
    if arguments.profile:
        with torch.profiler.profile() as profile:
            step()
        table = profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=48)
        print(table, file=sys.stderr)
    print(
        json.dumps(
            {
                "system": arguments.system,
                "compiled": arguments.compiled,
                "parameters": sum(parameter.numel() for parameter in system.model.parameters()),
                "first_step_seconds": seconds[0],
                "tokens_per_second": [B * T / second for second in seconds[2:]],
                "median_tokens_per_second": B * T / statistics.median(seconds[2:]),
                "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "sgemm_flops": [(before + after) / 2 for before, after in pairwise(rates[2:])],
                "losses": losses,
                "tokens_sha256": hashlib.sha256(tokens_BT.numpy().tobytes()).hexdigest(),
                "torch": torch.__version__,
                "instructions": torch.backends.cpu.get_cpu_capability(),
            }
        )
    )


if __name__ == "__main__":
    main()
