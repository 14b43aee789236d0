"""The formats, and which of them a file or directory is in."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.easylm.read import is_easylm, open_easylm
from puna.formats.gguf.read import is_gguf, open_gguf
from puna.formats.hf.read import is_hf, open_hf
from puna.formats.llama.read import is_llama, open_llama
from puna.formats.llama2c.read import is_llama2c, open_llama2c
from puna.formats.native import is_native, open_native
from puna.formats.openlm.read import is_openlm, open_openlm


@dataclass(frozen=True)
class Format:
    """One format."""

    name: str
    """As `puna export --to` and `puna import --from` have it."""
    title: str
    """As its users know it."""
    recognises: Callable[[Path], bool]
    """Whether a file or directory is in it; cheap, never raises."""
    reader: Callable[[Path, Hints], Checkpoint]
    """Its reader."""

    def open(self, path: Path, hints: Hints) -> Checkpoint:
        """A model in this format, opened without reading its weights.

        Raises:
            FormatError: It is not in this format, damaged, or cannot be read.
        """
        try:
            return self.reader(path, hints)
        except OSError as error:
            raise FormatError(f"{path}: cannot be read: {error.strerror}") from None


FORMATS = (
    Format("puna", "Puna model", is_native, open_native),
    Format("openlm", "OpenLM checkpoint", is_openlm, open_openlm),
    Format("hf", "Hugging Face directory", is_hf, open_hf),
    Format("llama", "original LLaMA directory", is_llama, open_llama),
    Format("gguf", "GGUF file", is_gguf, open_gguf),
    Format("easylm", "EasyLM checkpoint", is_easylm, open_easylm),
    Format("llama2c", "llama2.c file", is_llama2c, open_llama2c),
)
"""In the order in which they are asked; the last has no mark of its own but its length."""


def recognise(path: Path) -> Format:
    """The format that a file or directory is in.

    Raises:
        FormatError: None of them, or it cannot be read.
    """
    try:
        there, needed = path.exists(), os.R_OK | (os.X_OK if path.is_dir() else 0)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from None
    if not there:
        raise FormatError(f"{path}: is not there")
    if not os.access(path, needed):
        raise FormatError(f"{path}: cannot be read: Permission denied")
    for candidate in FORMATS:
        if candidate.recognises(path):
            return candidate
    known = ", ".join(f"{form.title} ({form.name})" for form in FORMATS)
    raise FormatError(f"{path}: is in no format that Puna reads", hint=f"it reads: {known}; see docs/formats")


def named(name: str) -> Format:
    """The format of this name.

    Raises:
        FormatError: There is none.
    """
    for form in FORMATS:
        if form.name == name:
            return form
    raise FormatError(f"{name!r} is no format; expected one of {', '.join(form.name for form in FORMATS)}")


def format_of(path: Path, name: str | None = None) -> Format:
    """The format of this name; without one, the format that the file or directory is in.

    Raises:
        FormatError: There is none.
    """
    return recognise(path) if name is None else named(name)
