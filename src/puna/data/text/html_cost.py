"""The cost of parsing an HTML page, estimated from its tags, because a parser cannot be stopped.

The HTML standard's tree construction takes more than linear time and memory on some pages, and such pages exist: each
start tag of a block looks for an open `p` in all elements around it (section 13.2.6.4.7), and every `b` or `font` that
is never closed is created again in each following block (section 13.2.4.3, at most three equal ones). A page of 500 kB
with 100,000 nested `div` keeps a parser busy for minutes; one of 60 kB takes gigabytes.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def _number(name: str) -> int:
    """The first eight letters of a name as one number, as the kernel reads them."""
    return int.from_bytes(name.encode()[:8], "big")


def _numbers(names: str) -> NDArray[np.uint64]:
    return np.array([_number(name) for name in names.split()], dtype=np.uint64)


_FLAT = _numbers(
    "p li dd dt option optgrou td th tr thead tbody tfoot colgroup rp rt body html head "
    "area base br col embed hr img input link meta param source track wbr path use"
)
"""Elements without an end tag, or ended by the next of their kind."""
_FORMATTING = _numbers("a b big code em font i nobr s small strike strong tt u")
_RAW = _numbers("script style textarea title xmp iframe noembed noframes")
_STACK = 1 << 14
_LOOK = 64


@njit(cache=True, nogil=True)
def _among(name: Any, names: Any) -> bool:
    for other in names:  # noqa: SIM110 (numba compiles no generators)
        if name == other:
            return True
    return False


@njit(cache=True, nogil=True)
def _name_at(data: Any, at: int) -> Any:
    """The name that begins at a position, as a number, and its end."""
    name, letters = np.uint64(0), 0
    while at < len(data):
        byte = data[at]
        if 65 <= byte <= 90:
            byte += 32
        if not (97 <= byte <= 122 or 48 <= byte <= 57 or byte == 45 or byte == 58):
            break
        if letters < 8:
            name = (name << np.uint64(8)) | np.uint64(byte)
        letters += 1
        at += 1
    return name, at


@njit(cache=True, nogil=True)
def _tag_end(data: Any, at: int) -> Any:
    """For a tag with a name that ends at `at`: the position after its `>`, its number of attributes, and its hash."""
    attributes, quote, before, hashed = 0, 0, 32, np.uint64(1469598103934665603)
    while at < len(data):
        byte = data[at]
        hashed = (hashed ^ np.uint64(byte)) * np.uint64(1099511628211)
        if quote:
            if byte == quote:
                quote = 0
        elif byte == 62:
            return at + 1, attributes, hashed
        elif (byte == 34 or byte == 39) and before == 61:
            quote = byte
        elif before <= 32 < byte and byte != 61:
            attributes += 1
        if byte > 32 or before != 61:
            before = byte
        at += 1
    return at, attributes, hashed


@njit(cache=True, nogil=True)
def _raw_end(data: Any, at: int, name: Any) -> int:
    """The position of a raw text element's end tag."""
    while at + 2 < len(data):
        if data[at] == 60 and data[at + 1] == 47 and _name_at(data, at + 2)[0] == name:
            return at
        at += 1
    return len(data)


@njit(cache=True, nogil=True)
def _found(names: Any, count: int, name: Any, default: int) -> int:
    """The position of a name among the last ones, or the default."""
    for at in range(count - 1, max(-1, count - 1 - _LOOK), -1):
        if names[at] == name:
            return at
    return default


@njit(cache=True, nogil=True)
def _cost(data: Any) -> tuple[int, int]:
    open_names = np.zeros(_STACK, dtype=np.uint64)
    active_names, active_slots = np.zeros(_STACK, dtype=np.uint64), np.zeros(_STACK, dtype=np.int64)
    equal = np.zeros(_STACK, dtype=np.uint8)
    depth, active, nodes, steps, at = 0, 0, 0, 0, 0
    while at + 1 < len(data):
        if data[at] != 60:
            at += 1
            continue
        following = data[at + 1]
        if following == 33 and at + 3 < len(data) and data[at + 2] == 45 and data[at + 3] == 45:
            at += 4
            while at < len(data) and not (data[at] == 62 and data[at - 1] == 45 and data[at - 2] == 45):
                at += 1
            continue
        closing = following == 47
        name, behind = _name_at(data, at + 1 + closing)
        if behind == at + 1 + closing:
            at += 1
            continue
        at, attributes, hashed = _tag_end(data, behind)
        if closing:
            depth = _found(open_names, min(depth, _STACK), name, depth)
            if _among(name, _FORMATTING):
                found = _found(active_names, active, name, active)
                if found < active:
                    equal[active_slots[found]] -= 1
                    active -= 1
                    active_names[found:active] = active_names[found + 1 : active + 1]
                    active_slots[found:active] = active_slots[found + 1 : active + 1]
            continue
        formatting = _among(name, _FORMATTING)
        nodes += 2 + attributes + (0 if formatting else active)
        steps += depth + active + attributes * attributes // 16
        if _among(name, _RAW):
            at = _raw_end(data, at, name)
            continue
        if formatting:
            slot = (hashed ^ name) % np.uint64(_STACK)
            if equal[slot] < 3 and active < _STACK:
                equal[slot] += 1
                active_names[active], active_slots[active] = name, slot
                active += 1
        if not _among(name, _FLAT):
            if depth < _STACK:
                open_names[depth] = name
            depth += 1
    return nodes, steps


def html_cost(content: bytes) -> tuple[int, int]:
    """The number of nodes in a page's tree and the number of steps to make it; both are rather overestimated.

    A node takes 290 to 390 bytes, a step up to 45 ns (Resiliparse 2.0 on pages of 1.5 million nodes and of
    100,000 nested elements). A page with end tags misplaced on purpose can cost more than this estimate.
    """
    nodes, steps = _cost(np.frombuffer(content, dtype=np.uint8))
    return int(nodes), int(steps)
