"""The prompts of `puna generate`: words of the command line, standard input, and files."""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from puna.core.errors import GenerateError
from puna.core.files import decode_text
from puna.core.json_lines import is_json_lines, read_objects, text_field

ANSWER = (
    "index", "sample", "text", "finish", "stop", "prompt_tokens", "cached_tokens", "proposed_tokens",
    "accepted_tokens", "tokens", "logprobs",
)  # fmt: skip
"""The fields that an answer adds to the object of its prompt."""


@dataclass(frozen=True)
class Prompt:
    """A text to continue."""

    text: str
    own: dict[str, Any] = field(default_factory=dict)
    """Other fields of its JSON line, which its answers carry."""


def read_prompts(words: list[str], file: Path | None) -> list[Prompt]:
    """The prompts of the command line, then those of a file.

    Args:
        words: Texts; `-` stands for standard input.
        file: A file of JSON lines, by its name, with an object with `prompt` on each; or one with a prompt on each
            line.

    Raises:
        GenerateError: There is none, a file cannot be read, or a line is not such an object.
    """
    if words.count("-") > 1:
        raise GenerateError("`-` reads all of standard input, so it can be given once")
    prompts = [Prompt(_read_stdin() if word == "-" else word) for word in words]
    if file is not None:
        prompts += _of_json_lines(file) if is_json_lines(file) else map(Prompt, _of_lines(file))
    if not prompts:
        raise GenerateError("there is no prompt", hint="name one, `-` for standard input, or a file with --prompts")
    return prompts


def _of_json_lines(file: Path) -> list[Prompt]:
    prompts = []
    for line, found in read_objects(file, GenerateError):
        where = f"{file}: line {line}"
        text = text_field(found, "prompt", where, GenerateError)
        if taken := found.keys() & set(ANSWER):
            raise GenerateError(
                f"{where}: has a field {min(taken)!r}, which its answer has too",
                hint=f"give it another name; an answer adds {', '.join(ANSWER)}",
            )
        prompts.append(Prompt(text, {name: value for name, value in found.items() if name != "prompt"}))
    return prompts


def _of_lines(file: Path) -> list[str]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise GenerateError(f"{file}: cannot be read: {error.strerror}") from None
    return lines_of(decode_text(content, str(file), GenerateError))


def lines_of(text: str) -> list[str]:
    """The lines of a file, as editors count them; other characters that end a line (`str.splitlines`) are text."""
    lines = re.split("\r\n|\r|\n", text.removeprefix("\ufeff"))  # with which some editors mark UTF-8
    return lines if lines[-1] else lines[:-1]


def _read_stdin() -> str:
    if sys.stdin is None:
        raise GenerateError("`-` reads standard input, which is closed")
    return decode_text(sys.stdin.buffer.read(), "standard input", GenerateError)
