"""PyTorch's `.pth` files: read without running code from them, written one tensor at a time.

`puna.formats.containers.pth_archive` describes and reads them. `torch.save` needs all tensors in memory at once, so the
writer here makes the archive itself; records begin at multiples of 64 bytes, so that the file can be mapped.
"""

import contextlib
import hashlib
import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from puna.core.errors import FormatError
from puna.formats.containers.dtypes import FLOATS
from puna.formats.containers.mapped import mapped
from puna.formats.containers.pickled import DamagedError, ForeignError, StorageView
from puna.formats.containers.pth_archive import read_content
from puna.model.safetensors import tensor_bytes

_ALIGNMENT = 64
_LOCAL_HEADER = 30
"""Bytes of a zip record's own header before its name (PKWARE's APPNOTE, 4.3.7)."""
_ZIP64_FIELD = 20
"""Bytes of the field that `force_zip64` appends to the others."""
_PADDING_FIELD = 0x4246
"""The field that PyTorch pads with; readers skip fields that they do not know."""


@dataclass(frozen=True, kw_only=True)
class PthTensor:
    """A tensor in a file that has been opened."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    identity: Hashable
    """Identity of the bytes: equal for two names of the same bytes."""
    load: Callable[[], Tensor]
    """Gives the tensor, mapped; do not change it."""


def load_pth(path: Path) -> Any:
    """The content of a file of `torch.save`: numbers, texts, containers, and a `StorageView` for each tensor.

    No code in the file is run, and no weight is read.

    Raises:
        FormatError: The file cannot be read, is damaged, or holds something else.
    """
    try:
        return read_content(path)
    except ForeignError as error:
        raise FormatError(
            f"{path}: wants {str(error)!r:.80}, and weights are tensors only; nothing of it was run"
        ) from None
    except DamagedError as error:
        raise FormatError(f"{path}: is not a PyTorch file of tensors, or a damaged one: {error}") from None


def read_pth(path: Path) -> dict[str, PthTensor]:
    """The tensors in a file that is one flat dictionary of them, as Meta's are; no weight is read.

    Raises:
        FormatError: The file cannot be read, is damaged, or is not such a dictionary.
    """
    content = load_pth(path)
    if not isinstance(content, dict) or not content:
        raise FormatError(f"{path}: holds no dictionary of tensors, but {type(content).__name__}")
    return pth_tensors(path, content)


def pth_tensors(path: Path, named: dict[Any, Any]) -> dict[str, PthTensor]:
    """The tensors of a dictionary in a file.

    Raises:
        FormatError: Something in it is not a tensor with a name.
    """
    for name, tensor in named.items():
        if not isinstance(name, str) or not name.isprintable() or not isinstance(tensor, StorageView):
            raise FormatError(f"{path}: {str(name)!r:.80} is not a named tensor, but {type(tensor).__name__}")
    return {name: _opened(path, tensor) for name, tensor in named.items()}


def dtype_name(path: Path, name: str, tensor: PthTensor) -> str:
    """The dtype of a weight, by its name in `Stored`.

    Raises:
        FormatError: Weights are never stored in this one.
    """
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in FLOATS:
        raise FormatError(f"{path}: {name} is {dtype}, expected {', '.join(FLOATS)}")
    return dtype


def _opened(path: Path, view: StorageView) -> PthTensor:
    return PthTensor(dtype=view.dtype, shape=view.shape, identity=view, load=lambda: _load(path, view))


def _load(path: Path, view: StorageView) -> Tensor:
    return mapped(path, view.begin, view.count, view.dtype).as_strided(view.shape, view.stride)


class PthWriter:
    """A `.pth` file that `torch.load(weights_only=True)` reads, with or without `mmap`.

    Use it as a context manager; the file is complete after the block. The same tensors make the same bytes.

    Args:
        path: The file.
        around: Makes the object to pickle from the dictionary of tensors; the default is the dictionary itself.
        md5: Whether to compute the file's MD5.

    Raises:
        OSError: The file cannot be written; the disk may be full.
    """

    def __init__(
        self, path: Path, *, around: Callable[[dict[str, Any]], Any] = lambda tensors: tensors, md5: bool = False
    ) -> None:
        self.path = path
        self._around = around
        self._file = _AppendedFile(path, hashed=md5)
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED)  # pyrefly: ignore[bad-argument-type]
        self._tensors: dict[str, _PickledTensor] = {}
        self._records = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            # A failed archive is closed too, or its finalizer would write to a closed file; the first error counts.
            with contextlib.suppress(OSError):
                self._zip.close()
            self._file.close()

    @property
    def md5(self) -> str:
        """The MD5 of the finished file, in hexadecimal, where it was asked for."""
        return self._file.md5.hexdigest()

    def add(self, name: str, tensor: Tensor) -> None:
        """Write a tensor; it is read while the next one is prepared, so do not change it in place."""
        content = tensor.detach().cpu().contiguous()
        self._tensors[name] = _PickledTensor(_Storage(str(self._records), content.dtype, content.numel()), content)
        self._record(f"data/{self._records}", tensor_bytes(content))
        self._records += 1

    def add_again(self, name: str, other: str) -> None:
        """Give the tensor `other` a second name; the two share their bytes, in the file and when it is loaded."""
        self._tensors[name] = self._tensors[other]

    def _finish(self) -> None:
        stream = io.BytesIO()
        _TensorPickler(stream, protocol=2).dump(self._around(self._tensors))
        self._record("data.pkl", stream.getbuffer())
        self._record("byteorder", b"little")
        self._record("version", b"3\n")
        self._zip.close()
        self._file.wait()

    def _record(self, name: str, content: bytes | memoryview) -> None:
        info = zipfile.ZipInfo(f"{self.path.stem}/{name}")
        begin = self._file.tell() + _LOCAL_HEADER + len(info.filename.encode()) + _ZIP64_FIELD + 4
        padding = -begin % _ALIGNMENT
        info.extra = struct.pack("<HH", _PADDING_FIELD, padding) + bytes(padding)
        with self._zip.open(info, "w", force_zip64=True) as record:
            record.write(content)


class _AppendedFile:
    """A file that can only be appended to, with the MD5 of what was written.

    It has no `seek`, so `zipfile` streams and writes each record's checksum after it, as PyTorch does. A thread hashes
    each piece while the next is prepared.
    """

    def __init__(self, path: Path, *, hashed: bool) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)
        self._hashed = hashed
        self._file = path.open("wb", buffering=0)
        self._thread = ThreadPoolExecutor(1)
        self._hashing: Future[None] | None = None
        self._position = 0

    def write(self, content: bytes | memoryview) -> int:
        left = memoryview(content)
        size = left.nbytes
        self.wait()
        if self._hashed:
            self._hashing = self._thread.submit(self.md5.update, content)
        while left:
            left = left[self._file.write(left) :]
        self._position += size
        return size

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Do nothing: `write` does not buffer."""

    def wait(self) -> None:
        """Return when all that was written is hashed."""
        if self._hashing is not None:
            self._hashing.result()

    def close(self) -> None:
        self._thread.shutdown()
        self._file.close()


class _Storage:
    """The bytes of a tensor, as the pickle names them."""

    def __init__(self, key: str, dtype: torch.dtype, numel: int) -> None:
        kinds = {torch.float32: torch.FloatStorage, torch.float16: torch.HalfStorage}
        self.persistent_id = ("storage", kinds.get(dtype, torch.BFloat16Storage), key, "cpu", numel)


class _PickledTensor:
    """The arguments from which `torch.load` makes a tensor."""

    def __init__(self, storage: _Storage, tensor: Tensor) -> None:
        self._arguments = (storage, 0, tuple(tensor.shape), tensor.stride(), False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_tensor_v2, self._arguments


class _TensorPickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.persistent_id if isinstance(obj, _Storage) else None
