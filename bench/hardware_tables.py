"""The guide's table of the GPUs whose figures are known, from the code that uses them."""

from puna.plan.hardware import GPUS


def gpus() -> str:
    """Rates, memory and power of each GPU that `puna plan` and the metrics of training know."""
    lines = ["| GPU | bf16, TFLOP/s | fp32, TFLOP/s | memory, GiB | GB/s | watts |", "|---|---:|---:|---:|---:|---:|"]
    for name, gpu in GPUS.items():
        bf16 = "none" if gpu.bf16_flops is None else f"{gpu.bf16_flops / 1e12:.4g}"
        figures = [bf16, f"{gpu.fp32_flops / 1e12:.3g}", f"{gpu.memory_bytes >> 30}"]
        figures += [f"{gpu.memory_bytes_per_s / 1e9:.0f}", f"{gpu.watts:g}"]
        lines.append(f"| {' | '.join([name, *figures])} |")
    return "\n".join(lines)
