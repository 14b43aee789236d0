"""`puna generate`: the model continues a prompt."""

import sys
from typing import Annotated

import typer

import puna
from puna.api.models import MAX_TOKENS, SEED, TEMPERATURE, TOP_P
from puna.cli.arguments import RunOrModel
from puna.core.errors import GenerateError
from puna.core.files import decode_text


def generate(
    run: RunOrModel,
    prompt: Annotated[str, typer.Argument(help="The text to continue; `-` reads it from standard input.")],
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens to write at most.")] = MAX_TOKENS,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the most likely token each time.")] = TEMPERATURE,
    top_p: Annotated[float, typer.Option(min=1e-6, max=1, help="Nucleus sampling.")] = TOP_P,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The same seed writes the same text.")] = SEED,
    special: Annotated[
        bool, typer.Option("--special", help="Read control tokens in the prompt as tokens, as a chat template's text.")
    ] = False,
) -> None:
    """Continue a prompt; the text goes to standard output as it is written."""
    text = _read_stdin() if prompt == "-" else prompt
    pieces = puna.load(run).stream(
        text, max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed, special=special
    )
    first = next(pieces, "")  # a prompt that the model refuses shows nothing on stdout
    print(text, end="")
    print(first, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def _read_stdin() -> str:
    return decode_text(sys.stdin.buffer.read(), "standard input", GenerateError)
