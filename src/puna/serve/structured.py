"""From the fields that say what an answer is to be to the guide that the engine follows, or to a 400.

A guide is compiled here before it waits for anything, on a thread, so that what cannot be followed is told at once and
never meets the engine. llguidance compiles without Python's lock and within bounds of its own.
"""

import asyncio
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from puna.infer.grammars import Guides
from puna.infer.guides import Call, Guide, GuideError, Pieces
from puna.serve.errors import ApiError
from puna.serve.schema.structured import (
    FlatJsonSchemaFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    ResponseFormat,
    ResponseTextFormat,
    StructuredOutputs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from puna.chat.tool_calls import ToolForm
    from puna.chat.tools import Tool
    from puna.serve.served_model import ServedModel
    from puna.tokenizer.tokenizer import Tokenizer

FUNCTION_SCHEMA = "function.parameters"
"""Where the schema of arguments stands in a function of OpenAI's chats."""
_COMPILERS: "WeakKeyDictionary[Tokenizer, Guides]" = WeakKeyDictionary()
"""One for each tokenizer, made when it is first needed."""
_THREADS = ThreadPoolExecutor(2, "guides")
"""Of their own: a guide may take a second, and dozens at once would keep prompts from being read."""


def guide_of_response_format(value: "ResponseFormat | None", *, param: str = "response_format") -> Guide | None:
    """The guide of `response_format`; None where any text may come.

    Raises:
        ApiError: The schema cannot be enforced (400); the error names the place in it.
    """
    if isinstance(value, JsonSchemaFormat):
        with _named(f"{param}.json_schema.schema"):
            return Guide.json_schema(value.json_schema.schema_)
    return Guide.json_object() if isinstance(value, JsonObjectFormat) else None


def guide_of_text_format(value: "ResponseTextFormat | None", *, param: str = "text.format") -> Guide | None:
    """The guide of `text.format` of responses; None where any text may come.

    Raises:
        ApiError: As of `guide_of_response_format`.
    """
    if isinstance(value, FlatJsonSchemaFormat):
        with _named(f"{param}.schema"):
            return Guide.json_schema(value.schema_)
    return Guide.json_object() if isinstance(value, JsonObjectFormat) else None


def guide_of_structured_outputs(
    value: "StructuredOutputs | None", *, param: str = "structured_outputs"
) -> Guide | None:
    """The guide of `structured_outputs`; None where there is none.

    Raises:
        ApiError: None or several of its fields are given, or one cannot be followed (400).
    """
    if value is None:
        return None
    fields = {
        "json": value.json_,
        "json_object": value.json_object or None,
        "regex": value.regex,
        "choice": value.choice,
    }
    given = [name for name, content in fields.items() if content is not None]
    if len(given) != 1:
        raise ApiError(
            400, f"{param} must have exactly one of {', '.join(fields)}, but has {len(given)}", param=param
        )  # fmt: skip
    with _named(f"{param}.{given[0]}"):
        if value.json_ is not None:
            return Guide.json_schema(value.json_)
        if value.regex is not None:
            return Guide.regex(value.regex)
        return Guide.json_object() if value.choice is None else Guide.choice(value.choice)


def guide_for_tools(
    form: "ToolForm", tools: "Sequence[Tool]", *, several: bool, optional: bool = False,
    strict: Collection[str] | None = None, param: str = "tools", schema: str = FUNCTION_SCHEMA,
) -> Guide:  # fmt: skip
    """The guide of an answer that must call functions: `tool_choice` "required", or one function by its name.

    And of one that may, where what it calls is held to something.

    Args:
        form: How the model's chat template writes calls.
        tools: The functions that may be called; at least one.
        several: Whether more than one call may come (`parallel_tool_calls`).
        optional: Whether the answer may be any text, too.
        strict: The names of the functions whose arguments are held to their schemas; None is all.
        param: What errors call the list of functions.
        schema: Where the schema of arguments stands in one of them.

    Raises:
        ApiError: A function's parameters cannot be enforced (400).
    """
    schemas = [dict(one.parameters) if strict is None or one.name in strict else {"type": "object"} for one in tools]
    for number, parameters in enumerate(schemas):
        with _named(f"{param}[{number}].{schema}"):
            Guide.json_schema(parameters)
    calls = [
        Call(_pieces(form.before(tool.name), form), parameters, _pieces(form.after, form))
        for tool, parameters in zip(tools, schemas, strict=True)
    ]
    with _named(param):
        return Guide.calls(
            calls,
            opening=_pieces(form.opening, form),
            separator=_pieces(form.separator, form) if several and form.separator is not None else None,
            closing=_pieces(form.closing, form),
            optional=optional,
        )


async def check_guide(guide: Guide | None, model: "ServedModel", *, param: str) -> None:
    """Refuse a guide that the model's engine could not follow.

    Args:
        guide: None is followed by doing nothing.
        model: Whose tokens write the text.
        param: The field that the guide is from, for the error.

    Raises:
        ApiError: It is too complex, or is not valid in itself (400).
    """
    if guide is None:
        return
    with _named(param):
        await asyncio.get_running_loop().run_in_executor(_THREADS, _compile, guide, model.tokenizer)


def _compile(guide: Guide, tokenizer: "Tokenizer") -> None:
    guides = _COMPILERS.get(tokenizer)
    if guides is None:
        guides = _COMPILERS.setdefault(tokenizer, Guides(tokenizer))
    guides.begin(guide).allowed()


@contextmanager
def _named(param: str) -> "Iterator[None]":
    """Turn an error of a guide into one that names the field."""
    try:
        yield
    except GuideError as error:
        place = f"{param}.{error.place}" if error.place else param
        raise ApiError(400, f"{place}: {error.why}", param=place) from None


def _pieces(text: str, form: "ToolForm") -> Pieces:
    """A text of a form, with control tokens as their ids."""
    pieces: list[str | int] = [text]
    for token, mark in form.marks.items():
        parts: list[str | int] = []
        for piece in pieces:
            if isinstance(piece, int):
                parts.append(piece)
                continue
            first, *rest = piece.split(mark)
            parts += [first, *(one for part in rest for one in (token, part))]
        pieces = parts
    return [piece for piece in pieces if piece != ""]
