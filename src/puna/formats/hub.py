"""Models on Hugging Face's hub by name (`puna.core.hub_name`).

Only the files that a reader needs are fetched, into
huggingface_hub's cache; HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean what they mean to it. A model's
files never change under their commit, so what is there of it is not asked for again.
"""

import contextlib
import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from puna.core.bounded import parse_json, read_bounded
from puna.core.console import say
from puna.core.errors import FormatError
from puna.core.files import storage_errors
from puna.core.hub_name import HubName
from puna.core.units import format_bytes

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_SETTINGS = (".json", ".jinja", ".model", ".toml", ".txt", ".chk")
"""Endings of the files beside the weights that describe a model or its tokenizer, in any format."""
_INDEX = re.compile(r"\.(safetensors|bin)\.index\.json$")
_PIECE = re.compile(r"(.*)-\d{5}-of-(\d{5})\.gguf")
_MOST_INDEX = 1 << 25
"""Bytes of an index of tensors, as of other files of its kind (`puna.formats.containers.json_object`)."""
_LISTED = 8
"""Names of files in an error, at most."""


def fetch(name: HubName) -> Path:
    """The model's directory, or the file that was named, in the cache of huggingface_hub; downloads what is missing.

    Raises:
        FormatError: The hub cannot be reached and the cache does not have it, there is no such model, it is only for
            those who were given access, or it holds nothing that Puna reads.
        StorageError: The disk is full.
    """
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise FormatError(
            f"{name}: is not there, and to look for it on Hugging Face's hub the package 'huggingface_hub' is needed",
            hint="pip install 'puna[formats]'",
        ) from None
    client = _Client(name, huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="puna"))
    with _sentences(name, client.endpoint):
        return client.fetch()


def needed(files: Sequence[str], file: str | None = None) -> tuple[list[str], list[str]]:
    """The files of a repository that hold its weights, and those that describe it; no weights where it has none.

    Of several forms of one model the first of these is taken: safetensors, PyTorch's pickles, Meta's original, GGUF,
    OpenLM, llama2.c. An index stands for the weights that it lists.

    Args:
        files: All paths in the repository.
        file: The one that was named, if one was.

    Raises:
        FormatError: It holds several GGUF models, or not the file that was named.
    """
    if file is not None:
        if file not in files:
            raise FormatError(f"has no file {file!r}; it has {_some(files)}")
        weights = _pieces(files, file)
        folder = PurePosixPath(file).parent
    else:
        weights = _weights([name for name in files if "/" not in name])
        folder = PurePosixPath()
    taken = {index for index in weights if _INDEX.search(index)}
    settings = [
        name
        for name in files
        if PurePosixPath(name).parent in (folder, PurePosixPath())
        and name.endswith(_SETTINGS)
        and (name in taken or not _INDEX.search(name))
    ]
    return weights, settings


def _weights(files: Sequence[str]) -> list[str]:
    """Those of a repository's files, none of them in a folder, that are the weights of its model."""
    for ending, whole in ((".safetensors", "model.safetensors"), (".bin", "pytorch_model.bin")):
        if (index := f"{whole}.index.json") in files:
            return [index]
        if whole in files:
            return [whole]
        if pieces := [name for name in files if re.fullmatch(rf"(pytorch_)?model-\d+-of-\d+{ending}", name)]:
            return pieces  # without their index, which the reader misses in a sentence of its own
    if original := [name for name in files if re.fullmatch(r"consolidated\.\d+\.pth", name)]:
        return original
    if models := sorted({_pieces(files, name)[0] for name in files if name.endswith(".gguf")}):
        if len(models) > 1:
            raise FormatError(
                f"has {len(models)} GGUF models: {_some(models)}", hint=f"name one: OWNER/NAME/{models[0]}"
            )
        return _pieces(files, models[0])
    if trained := [name for name in files if name.endswith(".pt")]:
        return [max(trained, key=lambda name: (_number(name), name))]
    return [name for name in files if name == "model.bin"]


def _pieces(files: Sequence[str], file: str) -> list[str]:
    """All pieces of the GGUF model that `file` is one of; the file alone where it is whole."""
    if (match := _PIECE.fullmatch(file)) is None:
        return [file]
    of_it = re.compile(rf"{re.escape(match[1])}-\d{{5}}-of-{match[2]}\.gguf")
    return sorted(name for name in files if of_it.fullmatch(name))


def _number(name: str) -> int:
    """The epoch in the name of a checkpoint of OpenLM."""
    found = re.search(r"(\d{1,9})\.pt$", name)
    return int(found[1]) if found else -1


def _some(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


class _Client:
    """One model, on the hub and in the cache."""

    def __init__(self, name: HubName, api: "HfApi") -> None:
        self._name, self._api = name, api
        self.endpoint: str = api.endpoint

    def fetch(self) -> Path:
        from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

        name = self._name
        try:
            info = self._api.model_info(name.repository, revision=name.revision, files_metadata=True)
        except (HTTPError, OfflineModeIsEnabled) as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
                raise
            if (kept := self._kept()) is None:
                raise
            say(f"{name}: {self.endpoint} cannot be reached, so what was fetched of it before is taken")
            return kept
        sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
        with storage_errors(_store(name)):
            return self._download(info.sha or name.revision, sizes)

    def _download(self, commit: str, sizes: dict[str, int]) -> Path:
        weights, settings = self._needed(list(sizes))
        for index in (name for name in weights if _INDEX.search(name)):
            inside = _listed(self._snapshot(commit, [index]) / index)
            if missing := [name for name in inside if name not in sizes]:
                raise FormatError(f"{self._name}: {index} names {missing[0]!r:.80}, which the repository does not have")
            weights = weights + inside
        files = list(dict.fromkeys((*settings, *weights)))
        snapshot = _store(self._name) / "snapshots" / commit
        missing = [name for name in files if not (snapshot / name).exists()]
        if missing:
            size = format_bytes(sum(sizes[name] for name in missing))
            plural = "s" * (len(missing) != 1)
            say(f"{self._name}: fetches {len(missing)} file{plural}, {size}, from {self.endpoint}")
        return self._place(self._snapshot(commit, missing))

    def _snapshot(self, commit: str, files: list[str]) -> Path:
        """The directory of a commit in the cache, after these files have been fetched into it."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import disable_progress_bars

        snapshot = _store(self._name) / "snapshots" / commit
        if all((snapshot / name).exists() for name in files):
            return snapshot
        if not sys.stderr.isatty():
            disable_progress_bars()
        found = snapshot_download(
            self._name.repository, revision=self._name.revision, allow_patterns=[glob.escape(name) for name in files],
            endpoint=self.endpoint, library_name="puna",
        )  # fmt: skip
        if Path(found).name != commit:
            raise FormatError(f"{self._name}: has changed on the hub while it was fetched", hint="fetch it again")
        return Path(found)

    def _needed(self, files: list[str]) -> tuple[list[str], list[str]]:
        try:
            weights, settings = needed(files, self._name.file)
        except FormatError as error:
            hint = error.hint.replace("OWNER/NAME", str(self._name))
            raise FormatError(f"{self._name}: {error.message}", hint=hint) from None
        if not weights:
            raise FormatError(
                f"{self._name}: holds no weights in a format that Puna reads; it has {_some(files) or 'no file'}",
                hint="a file of it is named OWNER/NAME/FILE; formats are listed in docs/formats",
            )
        return weights, settings

    def _kept(self) -> Path | None:
        """What the cache has of the revision."""
        store = _store(self._name)
        with contextlib.suppress(OSError):
            ref = store / "refs" / self._name.revision
            commit = ref.read_text().strip() if ref.is_file() else self._name.revision
            if "/" not in commit and (snapshot := store / "snapshots" / commit).is_dir():
                place = self._place(snapshot)
                return place if place.exists() else None
        return None

    def _place(self, snapshot: Path) -> Path:
        return snapshot if self._name.file is None else snapshot / self._name.file


def _store(name: HubName) -> Path:
    """The repository's directory in the cache ("Understand caching" in huggingface_hub's manual)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{name.repository.replace('/', '--')}"


def _listed(index: Path) -> list[str]:
    """The files that an index of tensors names.

    Raises:
        FormatError: It is damaged.
    """
    try:
        table = parse_json(read_bounded(index, _MOST_INDEX, FormatError), index, FormatError)["weight_map"]
        return sorted(set(map(str, table.values())))
    except (KeyError, TypeError, AttributeError):
        raise FormatError(f"{index}: has no weight_map, which says the file of every tensor") from None


@contextlib.contextmanager
def _sentences(name: HubName, endpoint: str) -> Iterator[None]:
    """Turn the hub's errors into sentences."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise FormatError(
            f"{name}: is gated: its owner gives it to those who ask for it",
            hint=f"ask at {endpoint}/{name.repository}, then set HF_TOKEN to your token or run `hf auth login`",
        ) from None
    except errors.RepositoryNotFoundError:
        raise FormatError(
            f"{name}: is neither a path here nor a model on {endpoint}",
            hint="a model that is not public needs a token in HF_TOKEN",
        ) from None
    except errors.RevisionNotFoundError:
        raise FormatError(f"{name}: has no revision {name.revision!r} on {endpoint}") from None
    except errors.OfflineModeIsEnabled:
        raise FormatError(
            f"{name}: is not a path here, and HF_HUB_OFFLINE forbids to look for it on {endpoint}"
        ) from None
    except (errors.HTTPError, errors.LocalEntryNotFoundError) as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise FormatError(
            f"{name}: is not a path here, and {endpoint} could not be asked for it: {why[0]:.200}",
            hint="without a network, name a file or directory of this machine",
        ) from None
