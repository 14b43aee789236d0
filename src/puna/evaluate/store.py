"""Documents with their answers on disk, so that an evaluation that was killed goes on where it was.

```
documents/llama-mmlu-5.jsonl             when the task is done: a header, then the documents in the order of the split
documents/llama-mmlu-5.jsonl.part-0      while it runs: what process 0 has done so far, in the order of asking
```
The header has the fingerprint of everything that decides an answer; lines under another fingerprint count for nothing.
A part holds a line for each document and behind each group of them one with what it cost: `{"cost": {...}}`. The last
line of a part may be torn, as a process leaves it that is killed while it writes; it is passed over.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from puna.core.errors import DataError
from puna.core.files import atomic_file, storage_errors
from puna.core.schema.evaluation import SCHEMA, DocumentLine
from puna.core.schema.part import parse

Fingerprint: TypeAlias = Mapping[str, Any]
"""What decides the answers of a task, as plain JSON."""


@dataclass(kw_only=True)
class Cost:
    """What the asking took."""

    seconds: float = 0.0
    requests: int = 0
    """Likelihoods and texts."""
    tokens_read: int = 0
    """Tokens of all contexts and continuations; those that requests share are counted each time."""

    def add(self, other: "Cost") -> None:
        """Count another one to this one."""
        self.seconds += other.seconds
        self.requests += other.requests
        self.tokens_read += other.tokens_read

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON has them."""
        return {"seconds": round(self.seconds, 3), "requests": self.requests, "tokens_read": self.tokens_read}


@dataclass(kw_only=True)
class Stored:
    """What is on disk of a task."""

    lines: dict[str, DocumentLine] = field(default_factory=dict)
    """By the ids of the documents."""
    cost: Cost = field(default_factory=Cost)


class Store:
    """The files of one task.

    Args:
        path: The file that the task leaves.
        fingerprint: What decides its answers.
    """

    def __init__(self, path: Path, fingerprint: Fingerprint) -> None:
        self.path = path
        self._fingerprint = json.loads(json.dumps(fingerprint))

    def read(self) -> Stored:
        """The documents that are done, of earlier sessions too; afterwards they are all in one file.

        One process calls it before any appends.

        Raises:
            DataError: A file cannot be read.
            StorageError: The directory cannot be written.
        """
        found = Stored()
        parts = sorted(self.path.parent.glob(f"{self.path.name}.part-*"))
        self._read(self.path, found)
        if not found.lines:
            for part in parts:
                self._read(part, found)
        if parts:
            lines = [*map(_dumped, found.lines.values()), {"cost": found.cost.as_dict()}]
            kept = self._part(0)
            self._write(kept, self._header(None), lines if found.lines else [])
            for part in parts:
                if part != kept:
                    part.unlink()
        return found

    def lost(self, *, by: Sequence[str]) -> int:
        """How many documents the finished file has, if it is going to be replaced by fewer of the same model; or 0.

        Args:
            by: The parts of fingerprints that a limit changes, `n` among them.
        """
        try:
            with self.path.open("rb") as file:
                header = _parsed(file.readline())
        except OSError:
            return 0
        theirs = header.get("fingerprint") if isinstance(header, dict) else None
        if not isinstance(theirs, dict) or any(
            theirs.get(name) != self._fingerprint.get(name) for name in {*theirs, *self._fingerprint} - {*by}
        ):
            return 0
        n = theirs.get("n")
        return n if isinstance(n, int) and n > self._fingerprint["n"] else 0

    def append(self, process: int, lines: Iterable[DocumentLine], cost: Cost) -> None:
        """Add documents that a process has done.

        Args:
            process: Its number.
            lines: The documents.
            cost: What they took.

        Raises:
            StorageError: The disk is full, or the directory cannot be written.
        """
        part = self._part(process)
        with storage_errors(part):
            part.parent.mkdir(parents=True, exist_ok=True)
            new = not part.exists()
            values = [*([self._header(None)] if new else []), *map(_dumped, lines), {"cost": cost.as_dict()}]
            with part.open("ab") as file:
                file.write(b"".join(map(_encoded, values)))

    def finish(self, lines: Iterable[DocumentLine], cost: Cost) -> None:
        """Write the file of the finished task, and remove the parts.

        Args:
            lines: All documents in the order of their split.
            cost: What the whole task took.

        Raises:
            StorageError: The disk is full, or the directory cannot be written.
        """
        self._write(self.path, self._header(cost), map(_dumped, lines))
        for part in self.path.parent.glob(f"{self.path.name}.part-*"):
            part.unlink()

    def _part(self, process: int) -> Path:
        return self.path.with_name(f"{self.path.name}.part-{process}")

    def _header(self, cost: Cost | None) -> dict[str, Any]:
        done = {} if cost is None else {"cost": cost.as_dict()}
        return {"schema": SCHEMA, "fingerprint": self._fingerprint} | done

    def _write(self, path: Path, header: Any, lines: Iterable[Any]) -> None:
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            file.write(_encoded(header))
            for line in lines:
                file.write(_encoded(line))

    def _read(self, path: Path, found: Stored) -> None:
        """Add what a file has, if it is of this fingerprint."""
        try:
            with path.open("rb") as file:
                header = _parsed(file.readline())
                if not isinstance(header, dict) or header.get("fingerprint") != self._fingerprint:
                    return
                for line in (header, *map(_parsed, file)):
                    if not isinstance(line, dict):
                        return  # torn, and so are any behind it
                    if "cost" in line:
                        found.cost.add(_cost(line["cost"], path))
                    elif "id" in line:
                        document = parse(DocumentLine, line, str(path))
                        found.lines[document.id] = document
        except FileNotFoundError:
            return
        except OSError as failure:
            raise DataError(f"{path}: cannot be read: {failure.strerror}") from None


def _cost(value: Any, path: Path) -> Cost:
    try:
        return Cost(
            seconds=float(value["seconds"]), requests=int(value["requests"]), tokens_read=int(value["tokens_read"])
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(f"{path}: is damaged: its cost is {str(value)[:80]}", hint="delete it") from None


def _dumped(line: DocumentLine) -> dict[str, Any]:
    return line.model_dump(mode="json", exclude_defaults=True)


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _parsed(line: bytes) -> Any:
    """The value of a whole line, None of a torn one."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
