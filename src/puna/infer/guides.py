"""What a text is to be: JSON of a schema, a match of a regular expression, one of several texts, or calls of tools.

A guide becomes a grammar, and the grammar says before each token which ones may come. llguidance computes that
(https://github.com/guidance-ai/llguidance); it sees the bytes of the vocabulary's tokens and nothing of the model.
The grammar never chooses how a text is cut into tokens: whatever cutting the model prefers is allowed.

Nothing here imports torch: the server's own process compiles guides, too, to refuse them before they wait.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeAlias

from puna.core.errors import GenerateError
from puna.infer.guide_schema import SchemaError, enforced_schema

GuideKind = Literal["json_schema", "json_object", "regex", "choice", "calls"]

MAX_SOURCE = 120_000
"""Characters of a guide, as OpenAI's bound of the names and values of a schema."""
MAX_CHOICES = 1000
"""OpenAI's bound of the values of all enumerations of a schema (its guide to structured outputs)."""
_SPACE = r" |\n{1,2}[ \t]{0,20}"
"""White space within JSON: what printers write, as in llama.cpp's grammars, and no more. Models that may write any
amount write spaces until their tokens are used up."""


class GuideError(GenerateError):
    """A guide that cannot be followed.

    Args:
        message: One sentence, which does not name the guide.
        place: Where in a schema, in dots: `properties.age.contains`; empty for the guide as a whole.
    """

    def __init__(self, message: str, *, place: str = "") -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.place, self.why = place, message


def llguidance() -> ModuleType:
    """The library, which only those who serve models need.

    Raises:
        GenerateError: It is missing.
    """
    try:
        import llguidance
    except ImportError:
        raise GenerateError("guides need the package 'llguidance'", hint="pip install 'puna[serve]'") from None
    return llguidance


Pieces: TypeAlias = Sequence[str | int]
"""Texts and, for control tokens, which no text is, their ids."""


@dataclass(frozen=True)
class Call:
    """A function that may be called."""

    before: Pieces
    """The text before its arguments, with its name."""
    schema: "dict[str, Any] | bool"
    """The JSON schema of its arguments."""
    after: Pieces
    """The text after its arguments."""


@dataclass(frozen=True)
class Guide:
    """What a text is to be; made by the functions that are named like its kinds.

    Raises:
        GuideError: The guide is too large, or cannot be followed to the letter.
    """

    kind: GuideKind
    source: str
    """JSON text of the schema, the choices or the calls; the regular expression; nothing for any object of JSON."""

    def __post_init__(self) -> None:
        if len(self.source) > MAX_SOURCE:
            raise GuideError(f"it has {len(self.source):,} characters, but at most {MAX_SOURCE:,} are read")
        self.grammar()

    @classmethod
    def json_schema(cls, schema: "dict[str, Any] | bool | str") -> "Guide":
        """A text that is JSON of a schema (JSON Schema 2020-12); properties come in the schema's order.

        Args:
            schema: The schema, or its JSON text.

        Raises:
            GuideError: It has a keyword that would not be enforced, or is not a schema.
        """
        try:
            return cls("json_schema", schema if isinstance(schema, str) else json.dumps(schema, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            raise GuideError("the schema cannot be written as JSON") from None

    @classmethod
    def json_object(cls) -> "Guide":
        """A text that is any object of JSON."""
        return cls("json_object", "")

    @classmethod
    def regex(cls, pattern: str) -> "Guide":
        r"""A text that matches a regular expression from its first character to its last.

        Args:
            pattern: In the syntax of Rust's crate `regex`, which looks neither ahead nor back; `\d` and `\w` are of
                ASCII, as in JSON Schema.

        Raises:
            GuideError: It is not a regular expression.
        """
        return cls("regex", pattern)

    @classmethod
    def choice(cls, texts: Sequence[str]) -> "Guide":
        """A text that is one of these.

        Raises:
            GuideError: There are none or too many, or one is empty.
        """
        return cls("choice", json.dumps(list(texts)))

    @classmethod
    def calls(
        cls, calls: Sequence[Call], *, opening: Pieces = (), separator: Pieces | None = None, closing: Pieces = (),
        optional: bool = False,
    ) -> "Guide":  # fmt: skip
        """A text that calls functions, in the form that a model's chat template writes.

        Where calls are optional, other text may stand before, between and after them. What opens a call, up to its
        first space, then stands nowhere else in the text; without an opening, a text that begins with `{` is a call.

        Args:
            calls: The functions that may be called, each with the text around its arguments.
            opening: The text before the first call.
            separator: The text between two calls; None where there is just one.
            closing: The text after the last call.
            optional: Whether there may be other text, and no call at all.

        Raises:
            GuideError: There are none, or a schema is not one that can be enforced.
        """
        parts = [[call.before, call.schema, call.after] for call in calls]
        return cls("calls", json.dumps([parts, opening, separator, closing, optional]))

    def grammar(self, before: str = "") -> str:
        """The grammar in llguidance's form of Lark.

        Args:
            before: What every text begins with.

        Raises:
            GuideError: It cannot be followed to the letter.
        """
        first = f"{_literal(before)} " if before else ""
        match self.kind:
            case "regex":
                rule = f"start: TEXT\nTEXT: {first}/{_pattern(self.source)}/\n"
            case "choice":
                rule = f"start: TEXT\nTEXT: {first}({' | '.join(map(_literal, _choices(self.source)))})\n"
            case "json_object":
                rule = f"start: {first}value\nvalue: {_json({'type': 'object'})}\n"
            case "json_schema":
                rule = f"start: {first}value\nvalue: {_json(_schema(self.source))}\n"
            case "calls":
                rule = _calls(self.source, first)
            case _:
                raise GuideError(f"{self.kind!r} is not a kind of guide")
        # Without forced tokens a mask holds every token that fits, however the library would cut the text.
        return '%llguidance {"no_forcing": true}\n' + rule


def _literal(text: str) -> str:
    """A text in a grammar: a regular expression in which every character that could mean something is a number."""
    marked = (one if one.isascii() and one.isalnum() else rf"\x{{{ord(one):x}}}" for one in text)
    return f"/{''.join(marked)}/"


def _json(schema: Any) -> str:
    """A schema in a grammar."""
    if isinstance(schema, bool):
        schema = {} if schema else {"enum": []}
    return f"%json {json.dumps({'x-guidance': {'whitespace_pattern': _SPACE}, **schema}, ensure_ascii=False)}"


def _schema(source: str) -> Any:
    try:
        return enforced_schema(source)
    except SchemaError as problem:
        raise GuideError(problem.why, place=problem.place) from None


def _pattern(pattern: str) -> str:
    """A regular expression in a grammar."""
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise GuideError("the regular expression ends with a backslash, which has to escape something")
    return llguidance().regex_to_lark(pattern, "dw")


def _choices(source: str) -> list[str]:
    texts = json.loads(source)
    if not 1 <= len(texts) <= MAX_CHOICES:
        raise GuideError(f"there are {len(texts):,} choices, but must be from 1 to {MAX_CHOICES:,}")
    for text in texts:
        if not isinstance(text, str) or not text:
            raise GuideError(f"{text!r} is a choice, but must be a text of at least one character")
    return texts


def _calls(source: str, first: str) -> str:
    """The rules of a text that calls functions."""
    calls, opening, separator, closing, optional = json.loads(source)
    if not calls:
        raise GuideError("there is no function to call")
    rules = [
        f"call{number}: {_pieces(before)} arguments{number} {_pieces(after)}\n"
        f"arguments{number}: {_json(_schema(json.dumps(schema)))}\n"
        for number, (before, schema, after) in enumerate(calls)
    ]
    times, more = "?" if separator is None else "*", ""
    # Of a separator that begins as the closing does, the rest is text among calls, in which the next one is opened:
    # both at once could not be told apart while they are written.
    if separator is not None and not (optional and _begins(separator, closing)):
        more = f"({_pieces(separator)} call)*"
    inner = f"call {more} {_pieces(closing)}"
    start = _among_text(first, opening, inner, times) if optional else f"start: {first}{_pieces(opening)} {inner}\n"
    return f"{start}call: {' | '.join(f'call{number}' for number in range(len(calls)))}\n{''.join(rules)}"


def _begins(pieces: Pieces, others: Pieces) -> bool:
    """Whether pieces begin as others do."""
    if not others:
        return True
    *same, last = others
    *found, begin = [*pieces[: len(others)]] or [""]
    return found == same and (begin == last or (isinstance(last, str) and str(begin).startswith(last)))


def _among_text(first: str, opening: list[str | int], inner: str, times: str) -> str:
    """The first rules of a text that may call functions, and may say other things."""
    head = opening[0] if opening else ""
    if isinstance(head, int):  # a control token, which no text is
        return f"start: {first}(TEXT {_pieces(opening)} {inner}){times} TEXT\nTEXT: /(?s:.*)/\n"
    if not (tag := (head.split() or [""])[0]):
        return f"start: {first}({inner} | TEXT)\nTEXT: /(?s:.*)/ & ~/\\s*\\{{(?s:.*)/\n"
    behind = _pieces([head[head.index(tag) + len(tag) :], *opening[1:]])
    pattern = re.escape(tag).replace("/", r"\/")
    return (
        f"start: {first}(before {behind} {inner}){times} TEXT\nbefore[suffix={_literal(tag)}]: /(?s:.*)/\n"
        f"TEXT: /(?s:.*)/ & ~/(?s:.*){pattern}(?s:.*)/\n"
    )


def _pieces(pieces: Pieces) -> str:
    """Texts and control tokens in a grammar."""
    return " ".join(f"<[{piece}]>" if isinstance(piece, int) else _literal(piece) for piece in pieces if piece != "")
