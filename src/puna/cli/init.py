"""`puna init`: a starter recipe for a folder of text."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import puna
from puna.core.console import say

if TYPE_CHECKING:
    from puna.api.init import StarterRecipe


def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder of text in any form, or one file.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The recipe's file.  \\[default: NAME.toml]", show_default=False)
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Of data build and run.  \\[default: the folder's name]", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the recipe's file if it is there.")] = False,
) -> None:
    """Look at a folder of text and write a starter recipe for a model of it; nothing is asked."""
    made = puna.init(path, out, name=name, force=force)
    for line in describe(made):
        say(line)
    print(made.path)


def describe(made: "StarterRecipe") -> list[str]:
    """What was found, what was chosen, and the next command."""
    from puna.api.starter_text import REASONS, languages, one_line
    from puna.core.units import format_bytes, format_count

    rows = []
    for found in made.survey.sources:
        about = "" if found.amount.is_whole else "about "
        facts = [
            f"{len(found.files):,} {'file' if len(found.files) == 1 else 'files'}",
            f"{about}{found.amount.documents:,} documents, {format_bytes(found.amount.text_bytes)} of text",
            f"text in the column {found.text_field!r}" if found.text_field else "",
            languages(found),
        ]
        rows.append(f"  {found.name}: {found.format}, {', '.join(filter(None, facts))}")
        if dropped := found.amount.dropped:
            told = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
            rows.append(f"    of those that were read, these gave no text: {told}")
    rows += [
        f"  not read: {len(names):,} x {one_line(reason)}, such as {one_line(names[0])}"
        for reason, names in made.survey.left_out.items()
    ]
    start, recipe = made.start, shlex.quote(str(made.path))
    return [
        *rows,
        f"model: {format_count(start.parameters)} parameters, {REASONS[start.bound]} ({made.machine})",
        f"training: {format_count(start.tokens)} tokens, {start.epochs:.2g} epochs of about "
        f"{format_count(start.available_tokens)}; {start.tokens / start.parameters:.2g} tokens for each parameter",
        f"{made.path}: written; next is `puna run {recipe}`, or its first stage, `puna data build {recipe}`",
    ]
