"""Arrays as the bytes that flax writes for them, laid out before any is read.

A file is described as parts: literal bytes, and ranges of an array's elements that the caller fills in. So the length
of a message is known before its content, and no copy of an array is ever in memory.
"""

import math
import struct
from collections.abc import Iterator, Mapping

from puna.formats.containers import flax_msgpack
from puna.formats.containers.flax_msgpack import ITEM_BYTES, MAX_MESSAGE_BYTES, Key

Stretch = tuple[int, int]
"""A range of a flat array: its first element, and the one after the last."""

Parts = list[bytes | Stretch]


def array_parts(shape: tuple[int, ...], dtype: str) -> Parts:
    """What `flax.serialization.to_bytes` gives for an array; one above MAX_CHUNK_BYTES is cut as flax cuts it.

    Raises:
        OverflowError: The dtype's name is not one of flax's.
    """
    width, numel = ITEM_BYTES[dtype], math.prod(shape)
    if numel * width <= flax_msgpack.MAX_CHUNK_BYTES:
        return _array(shape, dtype, 0, numel)
    step = max(1, flax_msgpack.MAX_CHUNK_BYTES // width)
    starts = range(0, numel, step)
    parts: Parts = [_map(3) + _text("__msgpack_chunked_array__") + b"\xc3" + _text("shape") + _map(len(shape))]
    parts += [_text(str(axis)) + _unsigned(size) for axis, size in enumerate(shape)]
    parts.append(_text("chunks") + _map(len(starts)))
    for index, start in enumerate(starts):
        stop = min(start + step, numel)
        parts += [_text(str(index)), *_array((stop - start,), dtype, start, stop)]
    return parts


def stream_parts(key: Key, leaf: Parts, dtype: str) -> Parts:
    """One message of EasyLM's stream: a leaf's path and its bytes.

    Raises:
        OverflowError: The leaf is longer than a byte string of msgpack can be.
    """
    length = parts_bytes(leaf, dtype)
    if length > MAX_MESSAGE_BYTES:
        raise OverflowError(length)
    return [b"\x92" + _array_head(len(key)) + b"".join(_text(name) for name in key) + _binary_head(length), *leaf]


def tree_parts(leaves: Mapping[Key, Parts]) -> Iterator[tuple[Key, bytes | Stretch]]:
    """One map of maps: parts in their order, each with the path of its leaf, () for parts between leaves.

    Args:
        leaves: By path, in the order of the sorted paths.
    """
    path: Key = ()
    for key, parts in leaves.items():
        common = next(index for index, name in enumerate(key) if path[index : index + 1] != (name,))
        for depth in range(common, len(key)):
            if depth != common or not path:
                yield (), _map(len({other[depth] for other in leaves if other[:depth] == key[:depth]}))
            yield (), _text(key[depth])
        yield from ((key, part) for part in parts)
        path = key


def parts_bytes(parts: Parts, dtype: str) -> int:
    """The length of these parts in the file, in bytes."""
    width = ITEM_BYTES[dtype]
    return sum(len(part) if isinstance(part, bytes) else (part[1] - part[0]) * width for part in parts)


def _array(shape: tuple[int, ...], dtype: str, start: int, stop: int) -> Parts:
    length = (stop - start) * ITEM_BYTES[dtype]
    head = b"\x93" + _array_head(len(shape)) + b"".join(map(_unsigned, shape)) + _text(dtype) + _binary_head(length)
    return [_extension_head(len(head) + length) + head, (start, stop)]


def _array_head(members: int) -> bytes:
    return bytes([0x90 | members])


def _map(pairs: int) -> bytes:
    return bytes([0x80 | pairs]) if pairs < 16 else _head(pairs, (None, 0xDE, 0xDF))


def _text(text: str) -> bytes:
    content = text.encode()
    return (bytes([0xA0 | len(content)]) if len(content) < 32 else _head(len(content), (0xD9, 0xDA, 0xDB))) + content


def _unsigned(value: int) -> bytes:
    return bytes([value]) if value < 128 else _head(value, (0xCC, 0xCD, 0xCE))


def _binary_head(length: int) -> bytes:
    return _head(length, (0xC4, 0xC5, 0xC6))


def _extension_head(length: int) -> bytes:
    fixed = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}.get(length)
    return (bytes([fixed]) if fixed else _head(length, (0xC7, 0xC8, 0xC9))) + b"\x01"


def _head(value: int, firsts: tuple[int | None, int, int]) -> bytes:
    """A first byte and then the number, in the fewest of 1, 2 and 4 bytes that hold it and have a first byte."""
    for first, form in zip(firsts, (">BB", ">BH", ">BI"), strict=True):
        if first is not None and value < 1 << 8 * (struct.calcsize(form) - 1):
            return struct.pack(form, first, value)
    raise OverflowError(value)
