"""Options that say what a text is to be."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from puna.core.bounded import parse_json, read_bounded
from puna.core.errors import GenerateError

if TYPE_CHECKING:
    from puna.infer.guides import Guide

JsonSchema = Annotated[
    Path | None, typer.Option(help="A file with a JSON schema; the text is JSON of that schema.", show_default=False)
]
Regex = Annotated[
    str | None, typer.Option(help="A regular expression that the whole text matches.", show_default=False)
]
Choice = Annotated[
    list[str] | None,
    typer.Option("--choice", help="A text that the text may be; given several times, it is one of them."),
]


def read_guide(json_schema: Path | None, regex: str | None, choice: list[str] | None) -> "Guide | None":
    """The guide of the options; None where there is none.

    Raises:
        GenerateError: Several are given, the file cannot be read, or the guide cannot be followed.
    """
    from puna.infer.guides import MAX_SOURCE, Guide, GuideError

    given = {"--json-schema": json_schema, "--regex": regex, "--choice": choice or None}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise GenerateError(f"{names[0]} and {names[1]} are both given, but a text can follow one of them")
    try:
        if json_schema is not None:
            content = read_bounded(json_schema, 4 * MAX_SOURCE, GenerateError)
            return Guide.json_schema(parse_json(content, json_schema, GenerateError))
        if regex is not None:
            return Guide.regex(regex)
        return Guide.choice(choice) if choice else None
    except GuideError as error:
        raise GenerateError(f"{json_schema or names[0]}: {error.message}") from None
