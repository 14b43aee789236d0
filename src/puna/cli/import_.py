"""`puna import`: a model in another system's format becomes a Puna model."""

from pathlib import Path
from typing import Annotated

import typer

import puna
from puna.cli.arguments import Context, Dtype, From, Heads, KeyHeads, NormEps, RopeTheta, TokenizerPath


def import_(
    source: Annotated[
        Path,
        typer.Argument(metavar="SRC", help="A model in any format, a run at any moment, or an adapter."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write.  \\[default: models/NAME]", show_default=False)
    ] = None,
    tokenizer: TokenizerPath = None,
    no_tokenizer: Annotated[
        bool, typer.Option("--no-tokenizer", help="Bring in the weights alone; the model then takes no text.")
    ] = False,
    dtype: Annotated[
        Dtype | None,
        typer.Option("--dtype", help="Round the weights to it.  \\[default: as they are; quantized ones to float32]"),
    ] = None,
    form: From = None,
    heads: Heads = None,
    kv_heads: KeyHeads = None,
    context: Context = None,
    norm_eps: NormEps = None,
    rope_theta: RopeTheta = None,
    base: Annotated[
        Path | None,
        typer.Option("--base", help="The model an adapter was trained on.  \\[default: the one that it names]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the model that is there.")] = False,
) -> None:
    """Recognise a model's format, say what it is, and write it as a Puna model; read back and compared."""
    puna.import_model(
        source, out, format=form, dtype=dtype and dtype.value, tokenizer=tokenizer, no_tokenizer=no_tokenizer,
        heads=heads, kv_heads=kv_heads, context=context, norm_eps=norm_eps, rope_theta=rope_theta, base=base,
        force=force,
    )  # fmt: skip
