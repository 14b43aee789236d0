"""Reads and writes TOML: a recipe's file as a table, a table by dotted keys, a value as TOML on one line."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from puna.core.errors import ConfigError
from puna.core.files import decode_text

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def read_toml(path: Path) -> dict[str, Any]:
    """The table that a TOML file holds.

    Raises:
        ConfigError: There is no such file, it cannot be read, or it is not UTF-8 text or not TOML.
    """
    try:
        return tomllib.loads(decode_text(path.read_bytes(), path, lambda sentence: ConfigError([sentence])))
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such recipe file"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror})"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not valid TOML: {error}"]) from None
    except ValueError as error:
        # A path with a NUL byte, or an integer of thousands of digits; what Python advises after the semicolon is
        # for programmers.
        raise ConfigError([f"{str(path)!r}: cannot be read ({str(error).partition(';')[0]})"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: is nested too deeply for a recipe"]) from None


def flatten(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested table, in order; an empty table is a value."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def inline(value: Any) -> str:
    """`value` as TOML on one line: `["a", "b"]`, `0.1`, `true`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inline_string(key)} = {inline(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, str):
        return inline_string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 1000:
        return hex(value)  # Python refuses to write a number of thousands of digits in decimal
    return repr(value) if isinstance(value, int | float) else value.isoformat()


def inline_string(text: str) -> str:
    """The text as a basic TOML string; characters that are not printable are escaped."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
