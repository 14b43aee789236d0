"""`puna bench`: how fast a model answers on this machine."""

from typing import TYPE_CHECKING, Annotated

import typer

import puna
from puna.api.bench import BATCHES, TOKENS
from puna.cli.arguments import AnyModel, CacheAs, Device, Threads, WeightsAs
from puna.cli.json_output import json_line
from puna.core.errors import GenerateError

if TYPE_CHECKING:
    from puna.infer.measure import Sweep

_BATCHES = ",".join(map(str, BATCHES))

app = typer.Typer(help="Measure how fast a model answers.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure how fast a model answers."""


@app.command()
def infer(
    model: AnyModel,
    batch: Annotated[str, typer.Option("--batch", metavar="N,N", help="Requests at once.")] = _BATCHES,
    context: Annotated[
        str | None,
        typer.Option("--context", metavar="N,N", help="Tokens of a prompt.  \\[default: 128,512]", show_default=False),
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=2, help="Tokens that each request writes.")] = TOKENS,
    weights: WeightsAs = None,
    cache: CacheAs = None,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON on stdout.")] = False,
) -> None:
    """Measure time to the first token, time per token and tokens/s, for requests at once and lengths of prompts.

    The shares are of a plain read of this machine's memory and of its float32 matrix product, both measured.
    """
    found = puna.bench_infer(
        model, weights=weights, cache=cache, device=device, threads=threads, batches=_numbers("--batch", batch),
        contexts=None if context is None else _numbers("--context", context), tokens=tokens,
    )  # fmt: skip
    print(json_line(found.as_dict()) if as_json else "\n".join(describe(found)))


def describe(found: "Sweep") -> list[str]:
    """The figures as lines for people."""
    from puna.core.units import format_bytes

    size, rates = found.size, found.rates
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    heads = (
        ("requests", "at once"), ("prompt", "tokens"), ("first token", "after, ms"), ("prompts,", "tokens/s"),
        ("of", "sgemm"), ("next token", "after, ms"), ("texts,", "tokens/s"), ("of the", "bandwidth"), ("of", "sgemm"),
    )  # fmt: skip
    rows = [
        (
            str(point.batch), str(point.context), f"{1e3 * point.first_token_seconds:.1f}",
            f"{point.prompt_tokens_per_second:.0f}", f"{point.prompt_share_of_flops:.0%}",
            f"{1e3 * point.token_seconds:.2f}", f"{point.tokens_per_second:.1f}", f"{point.share_of_bandwidth:.0%}",
            f"{point.share_of_flops:.0%}",
        )
        for point in found.points
    ]  # fmt: skip
    table = [*zip(*heads, strict=True), *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        f"{found.model}: {found.runner}, {threads}",
        f"a step reads {format_bytes(size.weight_bytes)} of weights, and {format_bytes(size.position_bytes)} of keys "
        "and values for each position",
        f"this machine: {rates.read_bytes_per_second / 1e9:.1f} GB/s of a plain read, {rates.flops / 1e9:.0f} GFLOP/s "
        "of sgemm",
        "",
        *("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in table),
    ]


def _numbers(option: str, text: str) -> list[int]:
    """The whole numbers of a list with commas.

    Raises:
        GenerateError: It is not such a list.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise GenerateError(f"{option} {text!r:.80}: expected whole numbers with commas, such as 1,8,32") from None
