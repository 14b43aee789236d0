"""The formats, and which of them a file or directory is in; torch is imported only where one reads or writes."""

import os
from collections.abc import Mapping
from pathlib import Path

from puna.core.bounded import open_regular
from puna.core.errors import ExportError, FormatError
from puna.core.plugins import load_plugins
from puna.core.schema.train_state import names_checkpoint, removed
from puna.formats.easylm.format import EASYLM
from puna.formats.format import Format, Value
from puna.formats.gguf.format import GGUF
from puna.formats.hf.format import HF
from puna.formats.llama.format import LLAMA
from puna.formats.llama2c.format import LLAMA2C
from puna.formats.moment.format import MOMENT
from puna.formats.native.format import PUNA
from puna.formats.openlm.format import OPENLM

GROUP = "puna.formats"
"""The group of entry points by which packages add formats."""

BUILT_IN = (PUNA, MOMENT, OPENLM, HF, LLAMA, GGUF, EASYLM, LLAMA2C)
"""In the order in which they are asked; the last has no magic number and is recognised by its length."""


def formats() -> tuple[Format, ...]:
    """All formats in the order in which they are asked; those that packages add come before the last of Puna's own.

    Raises:
        UserError: A package's format cannot be used.
        FormatError: It has a name that is taken.
    """
    added = load_plugins(GROUP, Format)
    own = {form.name for form in BUILT_IN}
    for name, form in added.items():
        if form.name in own or form.name != name:
            taken = "which is Puna's own" if form.name in own else f"but its entry point is called {name!r}"
            raise FormatError(f"{GROUP}: {name!r} is a format called {form.name!r}, {taken}")
    return (*BUILT_IN[:-1], *added.values(), BUILT_IN[-1])


def writable() -> list[Format]:
    """The formats that can be written, by name, Hugging Face's first."""
    return sorted((form for form in formats() if form.writer is not None), key=lambda form: (form is not HF, form.name))


def recognise(path: Path) -> Format:
    """The format that a file or directory is in.

    Raises:
        FormatError: It is in none of them, or cannot be read.
        CheckpointError: It is a checkpoint that its run has removed a moment ago.
    """
    try:
        there, needed = path.exists(), os.R_OK | (os.X_OK if path.is_dir() else 0)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from None
    if not there and names_checkpoint(path):
        raise removed(path)
    if not there:
        raise FormatError(f"{path}: is not there")
    if not os.access(path, needed):
        raise FormatError(f"{path}: cannot be read: Permission denied")
    for candidate in formats():
        if candidate.recognises(path):
            return candidate
    if names_checkpoint(path) and not path.exists():
        raise removed(path)
    if path.is_file():
        open_regular(path, FormatError).close()  # says what it is where it is not the file itself
    known = ", ".join(f"{form.title} ({form.name})" for form in formats())
    raise FormatError(f"{path}: is not in a format that Puna reads", hint=f"it reads: {known}; see docs/formats")


def format_named(name: str) -> Format:
    """The format of this name.

    Raises:
        FormatError: There is none.
    """
    for form in formats():
        if form.name == name:
            return form
    raise FormatError(f"{name!r} is not a format; expected one of {', '.join(form.name for form in formats())}")


def target_named(name: str) -> Format:
    """The format of this name, to be written.

    Raises:
        ExportError: There is none, or Puna does not write it.
    """
    for form in writable():
        if form.name == name:
            return form
    expected = ", ".join(form.name for form in writable())
    raise ExportError(f"{name!r} is not a format that Puna writes; expected one of {expected}")


def check_options(form: Format, given: Mapping[str, Value], dtype: str | None) -> dict[str, Value]:
    """The options that were given for an export, each in its type.

    Args:
        form: The format that is written.
        given: By name.
        dtype: What the weights are to be rounded to.

    Raises:
        ExportError: One is not the format's, has a value that it may not have, or says what `dtype` says.
    """
    own = {option.name: option for option in form.options}
    checked = {}
    for name, value in given.items():
        if name not in own:
            owners = [other.name for other in writable() if name in {option.name for option in other.options}]
            what = f"is a choice of --to {' and '.join(owners)}, not" if owners else "is not a choice"
            flags = ", ".join(option.flag for option in form.options)
            raise ExportError(
                f"--{name.replace('_', '-')} {what} of --to {form.name}",
                hint=f"{form.name} has {flags}" if flags else f"{form.name} has no choices",
            )
        if own[name].replaces_dtype and dtype is not None:
            raise ExportError(
                f"{own[name].flag} and --dtype both say what {form.name}'s matrices become; give one of them"
            )
        checked[name] = own[name].checked(form.name, value)
    return checked


def format_of(path: Path, name: str | None = None) -> Format:
    """The format of this name; without a name, the format that the file or directory is in.

    Raises:
        FormatError: There is none.
    """
    return recognise(path) if name is None else format_named(name)
