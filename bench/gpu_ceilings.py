"""The ceilings of bench/gpu.py: products, attention and copies alone."""

import torch
import torch.nn.functional as F
from gpu_common import SIZES, TINY, Bench


def ceilings(bench: Bench) -> None:
    """What the machine can do at best."""
    tokens, square = (64, 64) if bench.dry else (16_384, 8192)
    left, right = bench.random(square, square), bench.random(square, square)
    flops = 2 * square**3
    bench.say("product", of="square", size=square, tflops=flops / bench.milliseconds(lambda: left @ right) / 1e9)
    for size in SIZES:
        numbers = TINY if bench.dry else SIZES[size]
        dim, ffn, heads = numbers["dim"], numbers["ffn_dim"], numbers["n_heads"]
        shapes = {
            "wq": (tokens, dim, dim), "wq wk wv": (tokens, dim, 3 * dim), "w1": (tokens, dim, ffn),
            "w1 w3": (tokens, dim, 2 * ffn), "w2": (tokens, ffn, dim),
            "output": (tokens // 2, dim, numbers["vocab_size"]),
        }  # fmt: skip
        for name, shape in shapes.items():
            bench.say("product", of=name, size=size, tflops=_product_rates(bench, *shape))
        bench.say("attention", size=size, **_attention_rates(bench, tokens, heads, dim // heads))
    source = torch.empty(2**20 if bench.dry else 2**31, dtype=torch.bfloat16, device=bench.world.device)
    target = torch.empty_like(source)
    bench.say("copy", tbytes_per_second=4 * source.numel() / bench.milliseconds(lambda: target.copy_(source)) / 1e9)


def _product_rates(bench: Bench, rows: int, inner: int, outer: int) -> dict[str, float]:
    """TFLOP/s of the three products of a linear layer."""
    x, weight, grad = bench.random(rows, inner), bench.random(outer, inner), bench.random(rows, outer)
    products = {
        "forward": lambda: F.linear(x, weight),
        "input's gradient": lambda: grad @ weight,
        "weight's gradient": lambda: grad.T @ x,
    }
    return {of: round(2 * rows * inner * outer / bench.milliseconds(call) / 1e9, 1) for of, call in products.items()}


def _attention_rates(bench: Bench, tokens: int, heads: int, width: int) -> dict[str, float]:
    """TFLOP/s of causal attention, counting scores below the diagonal and a backward pass as two forward ones."""
    batch = max(1, tokens // bench.context)
    q, k, v = (bench.random(batch, bench.context, heads, width).transpose(1, 2).requires_grad_() for _ in range(3))
    grad = torch.randn_like(q)

    def attend() -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    forward = bench.milliseconds(attend)
    both = bench.milliseconds(lambda: torch.autograd.grad(attend(), (q, k, v), grad))
    flops = 2 * batch * heads * bench.context**2 * width
    return {"forward_tflops": flops / forward / 1e9, "both_tflops": 3 * flops / both / 1e9}
