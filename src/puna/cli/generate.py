"""`puna generate`: the model continues a prompt."""

import sys
from typing import Annotated

import typer

from puna.cli.arguments import RunOrModel
from puna.core.errors import GenerateError
from puna.core.files import decode_text


def generate(
    run: RunOrModel,
    prompt: Annotated[str, typer.Argument(help="The text to continue; `-` reads it from standard input.")],
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens to write at most.")] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the most likely token each time.")] = 0.8,
    top_p: Annotated[float, typer.Option(min=1e-6, max=1, help="Nucleus sampling.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The same seed writes the same text.")] = 0,
) -> None:
    """Continue a prompt; the text goes to standard output as it is written."""
    from puna.core.console import say
    from puna.infer.generate import generate as stream
    from puna.model.files import load_model, resolve_model

    text = _read_stdin() if prompt == "-" else prompt
    loaded = load_model(resolve_model(run))
    pieces = stream(
        loaded.model, loaded.require_tokenizer(), text, max_tokens=max_tokens, temperature=temperature, top_p=top_p,
        seed=seed, on_stop=say,
    )  # fmt: skip
    first = next(pieces, "")  # a prompt that the model refuses shows nothing on stdout
    print(text, end="")
    print(first, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def _read_stdin() -> str:
    return decode_text(sys.stdin.buffer.read(), "standard input", GenerateError)
