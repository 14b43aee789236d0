"""Flax's msgpack: arrays found in a file without reading them, and written without holding a copy of them.

An array is msgpack's extension type 1; its content is msgpack again, [shape, name of the dtype, bytes in row-major
order]. Above 2^30 bytes flax cuts an array into flat pieces: {"__msgpack_chunked_array__": true, "shape": {"0": ...},
"chunks": {"0": array, ...}} (flax.serialization). A file is either one map of maps with arrays as leaves, or EasyLM's
stream of [path, bytes], where the bytes are the msgpack of one leaf (EasyLM.checkpoint).

Only headers are read. Every length that a file states is checked against the length of the file.
"""

import math
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from puna.core.errors import FormatError

MAX_CHUNK_BYTES = 2**30
"""Flax's MAX_CHUNK_SIZE: an array of more bytes is cut."""

MAX_MESSAGE_BYTES = 2**32 - 1
"""The longest byte string that msgpack has."""

ITEM_BYTES = {
    "float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "bool": 1, "int8": 1, "uint8": 1, "int16": 2,
    "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8, "complex64": 8, "complex128": 16,
}  # fmt: skip
"""Bytes of an element by the names that flax writes."""

_CHUNKED = "__msgpack_chunked_array__"
_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_MAX_OBJECTS, _MAX_DEPTH, _MAX_NAME, _MAX_AXES = 2**20, 32, 256, 8

Content = bytes | mmap.mmap
Key = tuple[str, ...]


@dataclass(frozen=True)
class Array:
    """An array and the places of its bytes."""

    shape: tuple[int, ...]
    dtype: str
    pieces: tuple[tuple[int, int], ...]
    """First byte in the file and number of bytes of each flat piece, in order."""

    @property
    def n_bytes(self) -> int:
        """The bytes of all pieces together."""
        return sum(length for _, length in self.pieces)


Node = Array | int | None | dict[str, "Node"]
"""An object in the file: array, whole number or map; None for any other."""


def scan(content: Content, origin: str, wanted: Callable[[Key], bool]) -> tuple[dict[Key, Array | None], list[Key]]:
    """Every leaf of a file of either kind, and the paths in a stream that are not `wanted`; their leaves are not read.

    Args:
        content: The whole file.
        origin: What to call it in errors.
        wanted: Whether the leaf at a path is looked at.

    Returns:
        Arrays by path, None for leaves that are not arrays; and the paths that were skipped.

    Raises:
        FormatError: It is neither, or damaged.
    """
    walker = _Walker(content, origin, 0, len(content))
    leaves: dict[Key, Array | None] = {}
    passed: list[Key] = []
    if walker.peek_is_map():
        tree = walker.node()
        walker.expect_end("the map that is the checkpoint")
        return dict(_flat(tree, ())), passed
    while not walker.at_end:
        key, value = walker.entry()
        if key in leaves:
            raise FormatError(f"{origin}: holds {'/'.join(key)} twice")
        if not wanted(key):
            passed.append(key)
            continue
        inner = _Walker(content, origin, value.start, value.end)
        leaf = inner.node()
        inner.expect_end("/".join(key))
        leaves[key] = leaf if isinstance(leaf, Array) else None
    return leaves, passed


def _flat(node: Node, path: Key) -> Iterator[tuple[Key, Array | None]]:
    if isinstance(node, dict):
        for name, member in node.items():
            yield from _flat(member, (*path, name))
    else:
        yield path, node if isinstance(node, Array) else None


class _Item(NamedTuple):
    """One object's header."""

    kind: str
    """number, str, bin, ext, array, map, or other."""
    value: int
    """A number's value, the code of an extension, the members of an array or pairs of a map."""
    start: int
    """First byte of the content of a str, bin or ext."""
    end: int


# First byte: kind, and bytes of the length or value that follows it.
_SIZED = {
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4), 0xC7: ("ext", 1), 0xC8: ("ext", 2), 0xC9: ("ext", 4),
    0xCA: ("other", 4), 0xCB: ("other", 8), 0xCC: ("number", 1), 0xCD: ("number", 2), 0xCE: ("number", 4),
    0xCF: ("number", 8), 0xD0: ("signed", 1), 0xD1: ("signed", 2), 0xD2: ("signed", 4), 0xD3: ("signed", 8),
    0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4), 0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2),
    0xDF: ("map", 4),
}  # fmt: skip


class _Walker:
    """Reads msgpack between two positions, headers only (the msgpack specification, github.com/msgpack)."""

    def __init__(self, content: Content, origin: str, start: int, end: int) -> None:
        self.content, self.origin, self.position, self.end = content, origin, start, end
        self.objects = 0

    @property
    def at_end(self) -> bool:
        return self.position == self.end

    def peek_is_map(self) -> bool:
        first = self.content[self.position] if not self.at_end else 0
        return first & 0xF0 == 0x80 or first in (0xDE, 0xDF)

    def expect_end(self, what: str) -> None:
        if not self.at_end:
            raise FormatError(
                f"{self.origin}: {what} ends at byte {self.position}, expected it to end at byte {self.end}"
            )

    def item(self) -> _Item:
        """The next object's header; moves behind it, and behind the content of a str, bin or ext."""
        self.objects += 1
        if self.objects > _MAX_OBJECTS:
            raise FormatError(f"{self.origin}: has more than {_MAX_OBJECTS} objects, so it is not a checkpoint")
        at = self.position
        first = self.content[self._take(1)]
        if first < 0x80 or first >= 0xE0:
            return _Item("number", first if first < 0x80 else first - 256, at, self.position)
        if first < 0xA0:
            return self._container("map" if first < 0x90 else "array", first & 0x0F)
        if first < 0xC0:
            return self._content("str", 0, first & 0x1F)
        if 0xD4 <= first <= 0xD8:
            return self._content("ext", self._number(1, signed=True), 1 << first - 0xD4)
        if first in _SIZED:
            kind, width = _SIZED[first]
            return self._sized(kind, self._number(width, signed=kind == "signed"))
        if first == 0xC1:
            raise self._damaged(at, "no msgpack object begins with 0xc1")
        return _Item("other", 0, at, self.position)

    def _sized(self, kind: str, value: int) -> _Item:
        if kind in ("array", "map"):
            return self._container(kind, value)
        if kind == "ext":
            return self._content(kind, self._number(1, signed=True), value)
        if kind in ("str", "bin"):
            return self._content(kind, 0, value)
        return _Item("number" if kind == "signed" else kind, value, self.position, self.position)

    def _container(self, kind: str, members: int) -> _Item:
        if members * (2 if kind == "map" else 1) > self.end - self.position:
            raise self._damaged(self.position, f"the {members} members that the {kind} announces do not fit")
        return _Item(kind, members, self.position, self.position)

    def _content(self, kind: str, code: int, length: int) -> _Item:
        start = self._take(length)
        return _Item(kind, code, start, start + length)

    def _number(self, width: int, *, signed: bool) -> int:
        start = self._take(width)
        return int.from_bytes(self.content[start : start + width], "big", signed=signed)

    def _take(self, length: int) -> int:
        start = self.position
        if length > self.end - start:
            raise self._damaged(start, f"{length} bytes are announced, {self.end - start} are left")
        self.position = start + length
        return start

    def _damaged(self, position: int, what: str) -> FormatError:
        return FormatError(f"{self.origin}: is truncated or damaged: at byte {position}, {what}")

    def skip(self, item: _Item) -> None:
        """Move behind the members of an object."""
        left = 0
        while True:
            left += item.value * {"array": 1, "map": 2}.get(item.kind, 0)
            if not left:
                return
            item = self.item()
            left -= 1

    def text(self) -> str:
        at, item = self.position, self.item()
        if item.kind != "str" or item.end - item.start > _MAX_NAME:
            raise self._damaged(at, f"expected a name of at most {_MAX_NAME} bytes, found {_found(item)}")
        try:
            return self.content[item.start : item.end].decode()
        except UnicodeDecodeError:
            raise self._damaged(at, "the name is not UTF-8") from None

    def entry(self) -> tuple[Key, _Item]:
        """One message of a stream: the path, and the place of its leaf's bytes."""
        at, pair = self.position, self.item()
        if pair.kind != "array" or pair.value != 2:
            raise self._damaged(at, f"expected a pair of path and bytes, found {_found(pair)}")
        names = self.item()
        if names.kind != "array" or not 0 < names.value <= _MAX_DEPTH:
            raise self._damaged(at, f"expected a path of names, found {_found(names)}")
        key = tuple(self.text() for _ in range(names.value))
        value = self.item()
        if value.kind != "bin":
            raise self._damaged(at, f"expected the bytes of {'/'.join(key)}, found {_found(value)}")
        return key, value

    def node(self, depth: int = 0) -> Node:
        """The next object, with all that is in it."""
        at, item = self.position, self.item()
        if item.kind == "ext":
            return self._extension(at, item)
        if item.kind != "map":
            self.skip(item)
            return item.value if item.kind == "number" else None
        if depth == _MAX_DEPTH:
            raise self._damaged(at, f"maps are nested more than {_MAX_DEPTH} deep")
        members: dict[str, Node] = {}
        for _ in range(item.value):
            name = self.text()
            if name in members:
                raise self._damaged(at, f"a map has {name} twice")
            members[name] = self.node(depth + 1)
        return self._joined(at, members) if _CHUNKED in members else members

    def _extension(self, at: int, item: _Item) -> Array | None:
        if item.value in (_COMPLEX, _SCALAR):
            return None
        if item.value != _ARRAY:
            raise self._damaged(at, f"extension type {item.value} is none of flax's")
        inner = _Walker(self.content, self.origin, item.start, item.end)
        triple, axes = inner.item(), inner.item()
        if triple.kind != "array" or triple.value != 3 or axes.kind != "array" or axes.value > _MAX_AXES:
            raise self._damaged(at, "expected an array's shape, dtype and bytes")
        sizes = [inner.item() for _ in range(axes.value)]
        dtype, data = inner.text(), inner.item()
        if any(size.kind != "number" or size.value < 0 for size in sizes) or data.kind != "bin":
            raise self._damaged(at, "expected an array's shape, dtype and bytes")
        inner.expect_end("an array")
        return self._checked(at, [size.value for size in sizes], dtype, ((data.start, data.end - data.start),))

    def _checked(self, at: int, shape: list[int], dtype: str, pieces: tuple[tuple[int, int], ...]) -> Array:
        """The array of these pieces, if their lengths fit the shape."""
        if dtype not in ITEM_BYTES:
            raise self._damaged(at, f"{dtype!r} is not a dtype of flax's")
        array = Array(tuple(shape), dtype, pieces)
        if array.n_bytes != math.prod(shape) * ITEM_BYTES[dtype]:
            raise self._damaged(at, f"{array.n_bytes} bytes do not make an array of {dtype} and shape {shape}")
        return array

    def _joined(self, at: int, members: dict[str, Node]) -> Array:
        """The array that was cut into pieces."""
        axes, chunks = self._numbered(members.get("shape")), self._numbered(members.get("chunks"))
        shape = [size for size in axes if isinstance(size, int) and size >= 0]
        arrays = [chunk for chunk in chunks if isinstance(chunk, Array)]
        dtypes = {array.dtype for array in arrays}
        if len(shape) != len(axes) or len(shape) > _MAX_AXES or len(arrays) != len(chunks) or len(dtypes) != 1:
            raise self._damaged(at, "expected the shape and the pieces, of one dtype, of an array that was cut")
        return self._checked(at, shape, dtypes.pop(), tuple(piece for array in arrays for piece in array.pieces))

    def _numbered(self, node: Node) -> list[Node]:
        """The values of {"0": ..., "1": ...} in their order; none for any other map."""
        if not isinstance(node, dict) or node.keys() != {str(index) for index in range(len(node))}:
            return []
        return [node[str(index)] for index in range(len(node))]


def _found(item: _Item) -> str:
    return f"{item.kind} of {item.value}" if item.kind in ("array", "map") else item.kind
