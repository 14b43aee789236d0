"""Models of Hugging Face in several files: the index says which tensor is in which file, and nothing else counts.

An index names its files itself, so it may name anything. Only files within its directory are read; a link may also lead
to the store of the same repository in Hugging Face's cache (huggingface_hub, "Understand caching"), where each snapshot
is made of links to `blobs`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from torch import Tensor

from puna.core.errors import FormatError
from puna.formats.containers.json_object import read_json_object

Entry = TypeVar("Entry")
_LONGEST_NAME = 400


class TensorFiles(Protocol):
    """The tensors of one or several files, by the files' names for them."""

    @property
    def names(self) -> list[str]:
        """The tensors' names, in the order of the files."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the tensor of this name."""
        ...

    def dtype(self, name: str) -> str:
        """float32, bfloat16 or float16; of other types the file's own name."""
        ...

    def nbytes(self, name: str) -> int:
        """The bytes that a tensor takes in its file."""
        ...

    def file(self, name: str) -> Path:
        """The file that a tensor is in."""
        ...

    def tensor(self, name: str) -> Tensor:
        """A view of the mapped file."""
        ...


def read_index(index: Path, ending: str) -> dict[str, Path]:
    """The file of every tensor, as an index says; all of them are there.

    Args:
        index: Its file.
        ending: What the names of the files end in.

    Raises:
        FormatError: The index is damaged, or names a file that is missing, of another kind, or elsewhere.
    """
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(f"{index}: has no weight_map, which says the file of every tensor")
    files: dict[str, Path] = {}
    for name, file in weight_map.items():
        check_printable(index, name)
        if not isinstance(file, str) or not _is_inner(file) or not file.endswith(ending):
            kind = ending.removeprefix(".")
            raise FormatError(
                f"{index}: {name} is said to be in {file!r:.80}, which is not the name of a {kind} file here"
            )
        if file not in files:
            files[file] = _checked(index, file, len(set(map(str, weight_map.values()))))
    return {name: files[file] for name, file in weight_map.items()}


def _is_inner(name: str) -> bool:
    parts = PurePosixPath(name).parts
    plain = name.isprintable() and "\\" not in name and 0 < len(name) <= _LONGEST_NAME
    return plain and not name.startswith("/") and ".." not in parts


def _checked(index: Path, name: str, count: int) -> Path:
    """The file of this name, if it is within the index's directory."""
    file = index.parent / name
    try:
        home, place = index.parent.resolve(), file.resolve(strict=True)
    except (OSError, RuntimeError):  # the latter where links lead round in a circle
        raise FormatError(f"{file}: is missing; {index.name} names {count} files") from None
    in_cache = home.parent.name == "snapshots" and place.parent == home.parent.parent / "blobs"
    if not place.is_relative_to(home) and not in_cache:
        raise FormatError(
            f"{file}: leads to {place}, which is outside of the directory of {index.name}",
            hint="put the file itself there instead of a link",
        )
    return file


def by_index(
    index: Mapping[str, Path], files: list[Path], read: Callable[[Path], Mapping[str, Entry]], index_file: Path
) -> dict[str, Entry]:
    """Every tensor of the files; one that is in several of them is that of the file that the index says.

    Args:
        index: The file of every tensor; empty where there is no index.
        files: All files, in their order.
        read: Gives the tensors of a file.
        index_file: Where the index stands.

    Raises:
        FormatError: A file lacks what the index says it has, or two have a tensor that the index does not name.
    """
    found: dict[str, Entry] = {}
    where: dict[str, Path] = {}
    for file in files:
        for name, entry in read(file).items():
            if index.get(name, file) != file:
                continue
            if name in found:
                raise FormatError(f"{file}: has {name}, which {where[name].name} has too")
            found[name], where[name] = entry, file
    for name, file in index.items():
        if where.get(name) != file:
            raise FormatError(f"{file}: lacks {name}, which {index_file} says it has")
    return found


def check_printable(path: Path, name: str) -> None:
    """Refuse names that cannot be printed as a word in a sentence.

    Raises:
        FormatError: It is such a name.
    """
    if not name.isprintable():
        raise FormatError(f"{path}: names a tensor {name!r:.80}, which no model does")
