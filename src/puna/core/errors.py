"""The errors that a user can cause, and so can mend.

```
UserError                 one clear sentence, exit code 2, never a traceback
├── ConfigError           a recipe or an override is wrong; holds every problem at once
├── DataError             a source, document or token shard is missing or damaged
├── TokenizerError        a tokenizer cannot be trained, read or used
├── CheckpointError       a checkpoint or model directory is missing, damaged or of another run
├── TrainError            training cannot start or go on with these settings
├── FormatError           a model in another system's format is damaged, incomplete or no LLaMA
├── ExportError           an export was refused or its proof failed
├── GenerateError         a prompt that the model cannot take, or weights that cannot answer
├── EvaluateError         a task, its data or an answer cannot be used
├── ServeError            a server cannot be started with these settings, keys or address
├── StorageError          the disk is full or a path cannot be written
└── OtherProcessError     another process of the run says what is wrong
```

`Interrupted` is not an error: a signal asked for the end. Anything else that escapes is a defect of Puna and shows its
traceback.
"""

import re

_NOT_SHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters of ASCII and of ISO 6429, those that turn the direction of a text (Unicode's UAX 9), line ends
that terminals do not show as such, and halves of surrogate pairs, which no encoding has. Newline and tab are kept."""
_LONGEST_LINE = 2000

EXIT_CODE = 2
"""The exit code of the process after a `UserError`."""


def escaped(text: str) -> str:
    """A text for a terminal: what would steer it is escaped as Python does."""
    return _NOT_SHOWN.sub(lambda found: ascii(found[0])[1:-1], text)


def shown(text: str) -> str:
    """A message for a terminal: what would steer it is escaped as Python does, and lines that are too long are cut.

    Sentences name what files and users say, so any of them may hold anything.
    """
    lines = [
        line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 100]} ... ({len(line):,} characters)"
        for line in text.split("\n")
    ]
    return escaped("\n".join(lines))


class UserError(Exception):
    """What is wrong, in one sentence, and what to do about it.

    Args:
        message: Names the file, field or record, what was expected and what was found.
        hint: What the user can do, shown on a line of its own.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = shown(message)
        self.hint = shown(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class ConfigError(UserError):
    """Every problem found in a recipe, one per line."""

    def __init__(self, problems: list[str], *, hint: str = "") -> None:
        super().__init__("\n".join(problems), hint=hint)
        self.problems = problems


class DataError(UserError):
    """A source, document or token shard is missing, damaged or of another kind than expected."""


class TokenizerError(UserError):
    """A tokenizer cannot be trained on this text, read from this file or used with this model."""


class CheckpointError(UserError):
    """A checkpoint or model directory is missing, damaged or belongs to another run."""


class TrainError(UserError):
    """Training cannot start or go on with these settings."""


class FormatError(UserError):
    """A model in another system's format is missing, damaged, incomplete, or not one that the decoder computes."""


class ExportError(UserError):
    """An export was refused, or the written model does not equal its source."""


class GenerateError(UserError):
    """The model cannot continue this prompt."""


class EvaluateError(UserError):
    """A task, its data or an answer cannot be used, or an evaluation cannot go on."""


class ServeError(UserError):
    """A server cannot be started with these models, settings, keys or address."""


class StorageError(UserError):
    """A file could not be written: the disk is full, or the path is not writable."""


class OtherProcessError(UserError):
    """Another process of the run has raised the error and tells it; this one ends with the same exit code, silently."""

    def __init__(self, message: str = "another process of this run says what is wrong") -> None:
        super().__init__(message)


class Interrupted(BaseException):
    """A signal asked this process to end, and what had to be saved is saved.

    Like `KeyboardInterrupt`, it passes every `except Exception`.

    Args:
        signal: Its number.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal

    def __str__(self) -> str:
        return f"ended by signal {self.signal}"

    @property
    def exit_code(self) -> int:
        """The exit code that a shell, Slurm and torchrun expect of a process ended by a signal: 128 plus its number."""
        return 128 + self.signal
