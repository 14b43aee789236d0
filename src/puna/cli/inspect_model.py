"""`puna inspect`: what a model in any format is, without reading its weights."""

import contextlib
import json
from pathlib import Path
from typing import Annotated

import typer

from puna.cli.arguments import Context, From, Heads, KeyHeads, NormEps, RopeTheta, TokenizerPath


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file, directory or run.")],
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
    from puna.core.layout import RunDir
    from puna.formats.checkpoint import Hints
    from puna.formats.describe import as_dict, describe
    from puna.formats.import_model import checked_tokenizer
    from puna.formats.registry import format_of
    from puna.model.files import CONFIG

    with contextlib.suppress(OSError):  # opening it gives the error in a sentence
        if (RunDir(path).model / CONFIG).is_file():
            path = RunDir(path).model
    reader = format_of(path, form)
    hints = Hints(
        n_heads=heads, n_kv_heads=kv_heads, context=context, norm_eps=norm_eps, rope_theta=rope_theta,
        tokenizer=tokenizer,
    )  # fmt: skip
    checkpoint = reader.open(path, hints)
    found = checked_tokenizer(checkpoint, hints)
    if as_json:
        print(json.dumps(as_dict(checkpoint, reader.name, found), ensure_ascii=False))
        return
    print("\n".join(describe(checkpoint, reader.title, found)))
    if tensors:
        for name, stored in checkpoint.stored.items():
            print(f"{name:<40} {stored.dtype:<9} {list(checkpoint.weights[name].shape)}")
