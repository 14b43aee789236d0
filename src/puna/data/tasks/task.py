"""One task of a stage: its own directory, which only its inputs name, and the record that says it is done.

```
work/<stage>/<fingerprint>/
  …              what the task makes; every file appears whole
  task.json      {"results", "files": {name: SHA-256}}: written last, so the task is done when it is there
  progress       how many bytes of its input it has dealt with, for people who watch
  error.json     why it could not be done; the next attempt removes it
```

The fingerprint is a hash of everything that decides the result: the part of the recipe, the input files, the versions
of the packages, and the fingerprints of the tasks whose results are read. So a task whose inputs have changed is
another task, an unchanged one is never done twice, and nothing is deleted before its successor is there.
"""

import json
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from puna.core.errors import DataError, UserError
from puna.core.files import remove, sha256_file, sha256_json, write_json
from puna.core.packages import missing_package
from puna.data.tasks.counts import Counts

RECORD = "task.json"
_PROGRESS, _ERROR = "progress", "error.json"
_PROGRESS_INTERVAL_S = 0.5
_NOT_RESULTS = {RECORD, _PROGRESS, _ERROR}


@dataclass(frozen=True, eq=False, repr=False)
class Task(ABC):
    """Work that needs nothing but files, and that no other task waits for within its stage."""

    work: Path
    """The build's directory of intermediate results."""

    @property
    @abstractmethod
    def stage(self) -> str:
        """The name of its stage: a directory is called so."""

    @property
    @abstractmethod
    def made_from(self) -> Any:
        """What decides the result, as JSON."""

    @property
    @abstractmethod
    def input_bytes(self) -> int:
        """How much it reads, for the progress bar; an estimate will do."""

    @abstractmethod
    def work_on(self, progress: "Progress") -> Counts:
        """Do the work: write files into `self.directory`, return the figures."""

    def __repr__(self) -> str:
        # Tasks name those that they read from, and these theirs: written out, that would have no end.
        return f"<{self.stage} {self.fingerprint[:12]}>"

    @cached_property
    def fingerprint(self) -> str:
        """The hash of `made_from`."""
        return sha256_json([self.stage, self.made_from])

    @cached_property
    def directory(self) -> Path:
        """Where its files are."""
        return self.work / self.stage / self.fingerprint[:24]

    @property
    def is_done(self) -> bool:
        """Whether it need not be done any more."""
        return (self.directory / RECORD).is_file()

    @property
    def is_needed(self) -> bool:
        """Whether what was found before this stage leaves it something to do."""
        return True

    def run(self) -> None:
        """Do the work, unless it is done. What a user can mend is left as a file for `failure`, wherever this runs."""
        if self.is_done or not self.is_needed:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        remove(self.directory / _ERROR)
        remove(self.directory / RECORD)  # of files that are about to give way
        try:
            results = self.work_on(Progress(self.directory / _PROGRESS))
        except (UserError, ModuleNotFoundError) as error:
            sentence = error if isinstance(error, UserError) else missing_package(error)
            if sentence is None:
                raise
            write_json(self.directory / _ERROR, {"message": sentence.message, "hint": sentence.hint})
            return
        files = {path.relative_to(self.directory).as_posix(): sha256_file(path) for path in self.files()}
        write_json(self.directory / RECORD, {"stage": self.stage, "results": results, "files": files})

    def files(self) -> list[Path]:
        """What the task has made, sorted by name."""
        made = [path for path in self.directory.rglob("*") if path.is_file()]
        return sorted(
            path
            for path in made
            if path.name not in _NOT_RESULTS and ".tmp-" not in str(path.relative_to(self.directory))
        )

    def results(self) -> Counts:
        """The figures of a finished task.

        Raises:
            DataError: It is not finished, or its record is damaged.
        """
        return self._record()["results"]

    def hashes(self) -> dict[str, str]:
        """Names and SHA-256 of the files of a finished task.

        Raises:
            DataError: It is not finished, or its record is damaged.
        """
        return self._record()["files"]

    def made(self, prefix: str, suffix: str) -> list[str]:
        """The names of the files of a finished task that begin and end so, in order; they may be gone since.

        Raises:
            DataError: It is not finished, or its record is damaged.
        """
        return sorted(name for name in self.hashes() if name.startswith(prefix) and name.endswith(suffix))

    @property
    def is_whole(self) -> bool:
        """Whether every file of a finished task is still what it has written."""
        return all(_matches(self.directory / name, digest) for name, digest in self.hashes().items())

    def checked(self, name: str) -> Path:
        """A file of a finished task, compared with its hash.

        Raises:
            DataError: It is missing or is not what the task has written.
        """
        path = self.directory / name
        if not _matches(path, self.hashes().get(name)):
            raise DataError(
                f"{path}: is missing, or is not the file that {RECORD} beside it speaks of",
                hint=f"delete {self.directory} and build the data again",
            )
        return path

    def failure(self) -> UserError | None:
        """Why the last attempt failed, if a user can mend it."""
        try:
            fields = json.loads((self.directory / _ERROR).read_bytes())
            return DataError(fields["message"], hint=fields["hint"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def done_bytes(self) -> int:
        """How much of its input it has dealt with so far."""
        if self.is_done:
            return self.input_bytes
        try:
            return min(self.input_bytes, int((self.directory / _PROGRESS).read_bytes() or b"0"))
        except (OSError, ValueError):
            return 0

    def _record(self) -> dict[str, Any]:
        path = self.directory / RECORD
        try:
            status = path.stat()
            record = _load(path, status.st_ino, status.st_mtime_ns, status.st_size)
            if isinstance(record["results"], dict) and isinstance(record["files"], dict):
                return record
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise DataError(f"{path}: is missing or damaged", hint=f"delete {self.directory} and build the data again")


@lru_cache(maxsize=32)
def fingerprint_of(tasks: tuple[Task, ...]) -> str:
    """One hash for many tasks, taken once however many tasks read their results."""
    return sha256_json([task.fingerprint for task in tasks])


class Progress:
    """Tells those who watch how far a task is, at most twice a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done, self._last = 0, 0.0

    def advance(self, size: int) -> None:
        """So many more bytes of the input are dealt with."""
        self._done += size
        now = time.monotonic()
        if now - self._last >= _PROGRESS_INTERVAL_S:
            self._last = now
            # A hint that is read at any moment: half a number does no harm, waiting for the disk would.
            # Nor does none at all; an error would reach the reader, which takes it for one of the input file.
            with suppress(OSError):
                self._path.write_bytes(str(self._done).encode())


def _matches(path: Path, digest: str | None) -> bool:
    """Whether a file has this SHA-256."""
    try:
        status = path.stat()
        return _digest(path, status.st_ino, status.st_mtime_ns, status.st_size) == digest
    except OSError:
        return False


@lru_cache(maxsize=1 << 16)
def _digest(path: Path, *unchanged: int) -> str:
    """The SHA-256 of a file; read once by each process, though thousands of tasks ask for what all of them need."""
    return sha256_file(path)


@lru_cache(maxsize=64)
def _load(path: Path, *unchanged: int) -> Any:
    """A record; a task asks for it once for each of its files."""
    return json.loads(path.read_bytes())
