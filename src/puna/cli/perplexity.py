"""`puna perplexity`: how well a model predicts a text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import puna
from puna.cli.arguments import (
    AdapterPath,
    AnyModel,
    CacheAs,
    Context,
    Device,
    From,
    Heads,
    KeyHeads,
    NormEps,
    RopeTheta,
    Threads,
    TokenizerPath,
    WeightsAs,
    processes,
)
from puna.cli.json_output import json_line
from puna.core.errors import DataError
from puna.core.files import read_text
from puna.core.json_lines import is_json_lines, read_objects, text_field

if TYPE_CHECKING:
    from puna.api.language_model import LanguageModel
    from puna.api.perplexity import TextLoss


def perplexity(
    path: AnyModel,
    text: Annotated[
        list[Path],
        typer.Option("--text", help="A file of text, or of JSON lines with a text each; may be given several times."),
    ],
    name: Annotated[str, typer.Option("--field", help="The field of JSON lines that has the text.")] = "text",
    window: Annotated[
        int | None,
        typer.Option("--window", min=1, help="Tokens read at a time.  \\[default: the context]", show_default=False),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            "--stride",
            min=1,
            help="Tokens from one window to the next.  \\[default: half a window]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with the figures of each text.")
    ] = False,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="With --json: each token of each text and its log-probability.")
    ] = False,
    adapter: AdapterPath = None,
    weights: WeightsAs = None,
    cache: CacheAs = None,
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
    """Print perplexity, nats per token and bits per byte of texts, which may be longer than the model's context.

    A long text is read in windows that slide over it; each scores the tokens that none before it has scored. Under
    torchrun the processes share the model.
    """
    if tokens and not as_json:
        raise DataError("--tokens: is shown with --json only")
    texts, labels = _read(text, name)
    _, size = processes()
    model = puna.load(
        path, weights=weights, cache=cache, device=device, threads=threads, format=form, tokenizer=tokenizer,
        heads=heads, kv_heads=kv_heads, context=context, norm_eps=norm_eps, rope_theta=rope_theta, split=size > 1,
        adapter=adapter,
    )  # fmt: skip
    found = puna.perplexity(model, texts, window=window, stride=stride, tokens=tokens)
    if not as_json:
        print(found)
        return
    each = [label | _record(loss, model) for label, loss in zip(labels, found.texts, strict=True)]
    print(json_line(found.as_dict() | {"model": path, "texts": each}))


def _read(files: list[Path], name: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The texts of all files, and what tells each of them from the others."""
    texts: list[str] = []
    labels: list[dict[str, Any]] = []
    for file in files:
        if is_json_lines(file):
            for line, found in read_objects(file, DataError):
                texts.append(text_field(found, name, f"{file}: line {line}", DataError))
                labels.append({"file": str(file), "line": line})
        else:
            texts.append(read_text(file, DataError, newline="").removeprefix("\ufeff"))
            labels.append({"file": str(file)})
    return texts, labels


def _record(loss: "TextLoss", model: "LanguageModel") -> dict[str, Any]:
    """The figures of a text as JSON has them, with its tokens where they were asked for."""
    pieces = model.tokenizer.piece
    listed = [
        {"id": token, "token": pieces(token), "logprob": logprob}
        for token, logprob in zip(loss.ids, loss.logprobs, strict=True)
    ]
    return loss.as_dict() | ({"token_logprobs": listed} if listed else {})
