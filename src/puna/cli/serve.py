"""`puna serve`: OpenAI's interface and a chat page, on models in processes of their own."""

from pathlib import Path
from typing import Annotated

import typer

import puna
from puna.cli.arguments import (
    CacheAs,
    Context,
    Device,
    Draft,
    From,
    Heads,
    KeyHeads,
    NormEps,
    RopeTheta,
    Threads,
    TokenizerPath,
    WeightsAs,
)


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]MODEL[,KEY=VALUE]...",
            help="A run, a model in any format or a name on the hub; with a name of its own, and options that only "
            "this model has: small=runs/demo,weights=int8 (weights, cache, draft, device, threads, tokenizer).",
        ),
    ],
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter",
            metavar="[MODEL:]NAME=PATH",
            help="An adapter that is served as a model NAME, from the same weights; may be repeated.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 is all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes one that is free.")] = 8000,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", help="A file of keys, a line `name: key` for each user.", show_default=False),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A name of this server, as of a proxy before it; may be repeated."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", help="A site whose pages may use the server (https://…); may be repeated."),
    ] = None,
    requests_at_once: Annotated[int, typer.Option(min=1, help="Of one key at most; needs --keys.")] = 64,
    requests_per_minute: Annotated[
        int | None,
        typer.Option(min=1, help="Of one key at most; needs --keys.  \\[default: any number]", show_default=False),
    ] = None,
    max_queue: Annotated[int, typer.Option(min=1, help="Requests that wait for each model at most.")] = 256,
    request_seconds: Annotated[
        float, typer.Option(min=0, help="That a request takes at most; 0 is without end.")
    ] = 600,
    unload_after: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Seconds without a request after which a model leaves the memory.  \\[default: never]",
            show_default=False,
        ),
    ] = None,
    grace: Annotated[float, typer.Option(min=0, help="Seconds that running requests have at the end.")] = 30,
    weights: WeightsAs = None,
    cache: CacheAs = None,
    draft: Draft = None,
    device: Device = "cpu",
    threads: Threads = None,
    tokenizer: TokenizerPath = None,
    form: From = None,
    heads: Heads = None,
    kv_heads: KeyHeads = None,
    context: Context = None,
    norm_eps: NormEps = None,
    rope_theta: RopeTheta = None,
) -> None:
    """Serve models to many at once: OpenAI's interface at /v1, a chat page at /. Ctrl-C ends it."""
    puna.serve(
        *models, adapter=adapter or (), host=host, port=port, keys=keys,
        allow_host=allow_host or (), allow_origin=allow_origin or (),
        requests_at_once=requests_at_once, requests_per_minute=requests_per_minute,
        max_queue=max_queue, request_seconds=request_seconds or None, unload_after=unload_after, grace=grace,
        weights=weights, cache=cache, draft=draft, device=device, threads=threads, tokenizer=tokenizer, format=form,
        heads=heads, kv_heads=kv_heads, context=context, norm_eps=norm_eps, rope_theta=rope_theta,
    )  # fmt: skip
