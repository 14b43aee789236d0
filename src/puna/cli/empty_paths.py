"""An empty path is refused: `--run-dir "$RUN"` without the variable would otherwise mean the current directory."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from puna.core.errors import UserError


def refuse_empty_paths(command: Any, words: list[str]) -> None:
    """Refuse an empty text where a command expects a path.

    Args:
        command: A command, or a group of commands, of which the words name one.
        words: What follows its name on the command line.

    Raises:
        UserError: The value of an option or an argument that is a path is empty.
    """
    if not any(word == "" or word.endswith("=") for word in words):
        return  # which spares all others the time
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    if command.callback is None:
        return
    kinds = {name: parameter.annotation for name, parameter in inspect.signature(command.callback).parameters.items()}
    for parameter, value in _values(command, words):
        if value == "" and _is_path(kinds.get(parameter.name)):
            shown = parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar or parameter.name
            raise UserError(f'{shown} "": the path is empty', hint="is it a variable of the shell that is not set?")


def _is_path(kind: Any) -> bool:
    return kind is Path or any(_is_path(part) for part in get_args(kind))


def _values(command: Any, words: list[str]) -> Iterator[tuple[Any, str | None]]:
    """Each option that has a value, and each argument, with its text."""
    options = {name: each for each in command.params if each.param_type_name == "option" for name in each.opts}
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    rest, place, plain = iter(words), 0, False
    for word in rest:
        if word == "--" and not plain:
            plain = True
        elif word.startswith("-") and word != "-" and not plain:
            name, equals, value = word.partition("=")
            if name in options and not options[name].is_flag:
                yield options[name], value if equals else next(rest, None)
        elif arguments:
            yield arguments[min(place, len(arguments) - 1)], word
            place += 1
