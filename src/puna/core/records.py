"""How a result came to be: versions, commit, machine, command, inputs, durations.

Every stage writes `record.json` beside its output, last of all, so its presence says that the stage is finished:

```json
{"schema": 1, "stage": "tokenizer", "command": "puna run demo", "started": "2026-01-31T12:00:00+00:00",
 "seconds": 12.3, "puna": "0.1.0", "commit": "abc…", "machine": {…}, "packages": {…},
 "config": {"vocab_size": 4096},            settings of the result: the stage is current while the recipe has them
 "inputs": {"documents": "sha256…"},        hashes of its inputs
 "outputs": {"tokenizer.model": "sha256…"}, hashes of its files
 "results": {…}}                            its figures, by stage
```
"""

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from puna.core.errors import DataError
from puna.core.files import write_json
from puna.core.version import VERSION

SCHEMA = 1
"""Version of the record format; a reader refuses another one."""

_REQUIRED = {"stage": str, "config": dict, "inputs": dict, "outputs": dict, "results": dict}
_PACKAGES = ("numpy", "pydantic", "safetensors", "sentencepiece", "tokenizers", "torch", "transformers")


@dataclass
class Record:
    """The record of one stage; create it before the work, `write` it after."""

    stage: str
    config: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    _started: datetime = field(default_factory=lambda: datetime.now(UTC), init=False)
    _clock: float = field(default_factory=time.monotonic, init=False)

    @property
    def started(self) -> str:
        """When the stage began, in UTC, by ISO 8601 to the second."""
        return self._started.isoformat(timespec="seconds")

    def write(self, path: Path) -> None:
        """Write the record, which marks the stage as finished."""
        write_json(path, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """The record as in its file, with the seconds until now."""
        return {
            "schema": SCHEMA,
            "stage": self.stage,
            "command": command_line(),
            "started": self.started,
            "seconds": round(time.monotonic() - self._clock, 3),
            "puna": VERSION,
            "commit": commit(),
            "machine": machine(),
            "packages": packages(),
            "config": self.config,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "results": self.results,
        }


def read_record(path: Path) -> dict[str, Any] | None:
    """The record at `path`, or None where the stage has not finished.

    Raises:
        DataError: The file is damaged or was written by another version of the format.
    """
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    hint = f"delete {path.parent} and run the stage again"
    try:
        record = json.loads(text)
        schema = record["schema"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DataError(f"{path}: is not a record of a stage", hint=hint) from None
    if schema != SCHEMA:
        raise DataError(f"{path}: is record format {schema}, this version of Puna reads {SCHEMA}", hint=hint)
    for name, kind in _REQUIRED.items():
        if not isinstance(record.get(name), kind):
            raise DataError(f"{path}: the record has no {name!r} or a damaged one", hint=hint)
    return record


_RESULTS = {
    "data": "a data build", "import": "an imported model", "model": "the model of a run", "tokenizer": "a tokenizer",
    "train": "a training run",
}  # fmt: skip


def result_of(record: dict[str, Any]) -> str:
    """What lies in the directory of a record, in words for people."""
    return _RESULTS.get(record["stage"], f"the result of the stage {record['stage']!r}")


def command_line() -> str:
    """The command as the user typed it."""
    name = Path(sys.argv[0]).name
    return shlex.join(["puna" if name in {"__main__.py", "puna"} else name, *sys.argv[1:]])


def commit() -> str | None:
    """The git commit of the source tree that runs, with `+` if it has changes; None for an installed package."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int | None:
    """Bytes of memory that are free or can be freed; None if the system does not report it."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def machine() -> dict[str, Any]:
    """Description of this machine: system, processor, usable cores, memory in bytes."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": _memory_bytes(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def packages() -> dict[str, str]:
    """Versions of the installed packages that can change a result."""
    from importlib import metadata  # slow to import, and most commands write no record

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
