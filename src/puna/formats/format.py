"""What Puna knows of a format, in one record: how it is recognised, read and written, and what its users may choose.

Each format declares its record in its own `format.py`, which imports what reads and writes only when it is called: the
command line lists formats and their options without torch. A package adds a format by an entry point of the group
`puna.formats` that gives such a record (docs/formats/README.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from puna.core.errors import ExportError, FormatError

if TYPE_CHECKING:
    from puna.core.schema.export import OracleResults
    from puna.formats.checkpoint import Checkpoint, Hints
    from puna.tokenizer.tokenizer import Tokenizer

Value: TypeAlias = str | int

TAKEN = frozenset({"run", "to", "out", "dtype", "text", "quick", "force", "help"})
"""What `puna export` has for every format, so that no option can be called so."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """A choice that a format leaves to whoever exports to it."""

    name: str
    """In Python; the command line has it as `flag`."""
    help: str
    """What it is, in a few words, with what is taken where it is not given."""
    choices: tuple[str, ...] = ()
    """The words that it may be; none where it is a whole number."""
    least: int = 1
    """The smallest number, where it is one."""
    replaces_dtype: bool = False
    """Whether it says what `--dtype` says, too, so that only one of them can be given."""

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in TAKEN:
            raise ValueError(f"an option cannot be called {self.name!r}")

    @property
    def flag(self) -> str:
        """As a user types it: `--model-parallel`."""
        return "--" + self.name.replace("_", "-")

    @property
    def metavar(self) -> str:
        """What stands for the value in a help text."""
        return "INTEGER" if not self.choices else "|".join(self.choices) if len(self.choices) < 5 else "TEXT"

    def checked(self, form: str, value: Value) -> Value:
        """The value in its type, a number also where it comes as text.

        Raises:
            ExportError: It is not one that the option may have; `form` is the format's name.
        """
        if self.choices:
            if value in self.choices:
                return value
            expected = f"one of {', '.join(self.choices)}"
        else:
            number = value if isinstance(value, int) else int(value) if value.isdecimal() else None
            if number is not None and number >= self.least:
                return number
            expected = f"a whole number from {self.least}"
        raise ExportError(f"{self.flag} {value}: expected {expected} for --to {form}")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a writer is given besides the weights."""

    directory: Path
    """Where to write; it is there, and empty."""
    tokenizer: "Tokenizer | None"
    name: str
    """What the model is called, for people."""
    dtype: str | None
    """What the user wants the weights rounded to; they are already, but for formats that round themselves."""
    options: Mapping[str, Value] = field(default_factory=dict)
    """The format's options that were given, by name, checked."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format: its names, how it is recognised, read and written."""

    name: str
    """The name in `puna export --to` and `puna import --from`."""
    title: str
    """The name that users know."""
    recognises: Callable[[Path], bool]
    """Whether a file or directory is in this format; cheap, never raises."""
    reader: "Callable[[Path, Hints], Checkpoint]"
    """Opens a model without reading its weights; raises FormatError."""
    writer: "Callable[[Checkpoint, Job], list[str]] | None" = None
    """Writes a model, and gives remarks for its report; raises ExportError where the format cannot express it. None
    where Puna does not write the format."""
    options: tuple[Option, ...] = ()
    holds_chat_template: bool = False
    rounds_itself: bool = False
    """Whether the writer rounds to `Job.dtype`; it is given rounded weights otherwise."""
    oracle: "Callable[[Checkpoint, Path, Tokenizer | None], OracleResults] | None" = None
    """Lets another implementation run the export (opened again, its directory, its tokenizer), and compares; raises
    ExportError where it differs. None where Puna knows none."""

    def open(self, path: Path, hints: "Hints") -> "Checkpoint":
        """A model in this format, opened without reading its weights.

        Raises:
            FormatError: It is not in this format, damaged, or cannot be read.
        """
        try:
            return self.reader(path, hints)
        except OSError as error:
            raise FormatError(f"{path}: cannot be read: {error.strerror}") from None

    def write(self, source: "Checkpoint", job: Job) -> list[str]:
        """Write a model, and give remarks for its report.

        Raises:
            ExportError: Puna does not write this format, or it cannot express the model.
        """
        if self.writer is None:
            raise ExportError(f"{self.name!r} is not a format that Puna writes")
        return self.writer(source, job)
