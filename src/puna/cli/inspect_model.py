"""`puna inspect`: what a model in any format is, without reading its weights."""

from pathlib import Path
from typing import Annotated

import typer

import puna
from puna.cli.arguments import Context, From, Heads, KeyHeads, NormEps, RopeTheta, TokenizerPath
from puna.cli.json_output import json_line


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file, a directory, or a run at any moment.")],
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    tokenizer: TokenizerPath = None,
    form: From = None,
    heads: Heads = None,
    kv_heads: KeyHeads = None,
    context: Context = None,
    norm_eps: NormEps = None,
    rope_theta: RopeTheta = None,
) -> None:
    """Print what a model is: format, architecture, sizes, tokenizer, missing or extra tensors. No weight is read."""
    found = puna.inspect(
        path, format=form, tokenizer=tokenizer, heads=heads, kv_heads=kv_heads, context=context, norm_eps=norm_eps,
        rope_theta=rope_theta,
    )  # fmt: skip
    if as_json:
        print(json_line(found.as_dict()))
        return
    print(found)
    if tensors:
        for name, stored in found.tensors.items():
            print(f"{name:<40} {stored.dtype:<9} {list(found.checkpoint.weights[name].shape)}")
