"""One task of a stage: a directory named by the task's inputs, and the record that marks it as done.

```
work/<stage>/<fingerprint>/
  …              the files of the task; each appears complete or not at all
  task.json      {"results", "files": {name: SHA-256}}: written last, so the task is done when it exists
  progress       how many bytes of its input are done, for the progress bar
  error.json     why it failed; the next attempt removes it
```

The fingerprint is a hash of everything that decides the result: the part of the recipe, the input files, the versions
of the packages, and the fingerprints of the tasks whose results are read. So a task with changed inputs is a new task,
an unchanged one is never run twice, and nothing is deleted before its successor exists.
"""

import json
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

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
    """Work that reads only files, and is independent of the other tasks of its stage."""

    stage: ClassVar[str]
    """The name of its stage, also the name of a directory."""

    work: Path
    """The build's directory of intermediate results."""

    @property
    @abstractmethod
    def made_from(self) -> Any:
        """Everything that decides the result, as JSON."""

    @property
    @abstractmethod
    def input_bytes(self) -> int:
        """Bytes that it reads, for the progress bar; may be an estimate."""

    @abstractmethod
    def work_on(self, progress: "Progress") -> Counts:
        """Do the work: write files into `self.directory`, return the figures."""

    def __repr__(self) -> str:
        # Tasks hold the tasks that they read from, and these hold theirs: written out, that would be huge.
        return f"<{self.stage} {self.fingerprint[:12]}>"

    @cached_property
    def fingerprint(self) -> str:
        """The hash of `made_from`."""
        return sha256_json([self.stage, self.made_from])

    @cached_property
    def directory(self) -> Path:
        """The directory of its files."""
        return self.work / self.stage / self.fingerprint[:24]

    @property
    def is_done(self) -> bool:
        """Whether it is finished."""
        return (self.directory / RECORD).is_file()

    @property
    def is_needed(self) -> bool:
        """False when earlier stages left no work."""
        return True

    def run(self) -> None:
        """Do the work, unless it is done. An error that a user can correct is written to a file for `failure`."""
        if self.is_done or not self.is_needed:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        remove(self.directory / _ERROR)
        remove(self.directory / RECORD)  # of files that are about to be replaced
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
        """The files of the task, sorted by name."""
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
        """The names of a finished task's files with this beginning and end, in order; the files may be gone by now.

        Raises:
            DataError: It is not finished, or its record is damaged.
        """
        return sorted(name for name in self.hashes() if name.startswith(prefix) and name.endswith(suffix))

    @property
    def is_whole(self) -> bool:
        """Whether every file of a finished task is unchanged."""
        return all(_matches(self.directory / name, digest) for name, digest in self.hashes().items())

    def checked(self, name: str) -> Path:
        """A file of a finished task, compared with its hash.

        Raises:
            DataError: It is missing or has changed.
        """
        path = self.directory / name
        if not _matches(path, self.hashes().get(name)):
            raise DataError(
                f"{path}: is missing, or is not the file that {RECORD} beside it speaks of",
                hint=f"delete {self.directory} and build the data again",
            )
        return path

    def failure(self) -> UserError | None:
        """The error of the last attempt, if a user can correct it."""
        try:
            fields = json.loads((self.directory / _ERROR).read_bytes())
            return DataError(fields["message"], hint=fields["hint"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def done_bytes(self) -> int:
        """Bytes of its input that are done so far."""
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
    """One hash for many tasks, computed once for all tasks that read their results."""
    return sha256_json([task.fingerprint for task in tasks])


class Progress:
    """Reports the progress of a task, at most twice a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done, self._last = 0, 0.0

    def advance(self, size: int) -> None:
        """Count more bytes of the input as done."""
        self._done += size
        now = time.monotonic()
        if now - self._last >= _PROGRESS_INTERVAL_S:
            self._last = now
            # A hint that may be read at any moment: a partial number does no harm, waiting for the disk would. A
            # missing number does none either; an error would reach the reader, which takes it for one of its input
            # file.
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
    """The SHA-256 of a file; computed once per process, because thousands of tasks need the same files."""
    return sha256_file(path)


@lru_cache(maxsize=64)
def _load(path: Path, *unchanged: int) -> Any:
    """A record; cached, because a task reads it once for each of its files."""
    return json.loads(path.read_bytes())
