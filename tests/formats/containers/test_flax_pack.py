"""What is laid out, against msgpack's packer and flax's serialization."""

import math
from typing import Any

import msgpack
import numpy as np
import pytest

from puna.formats.containers import flax_msgpack
from puna.formats.containers.flax_msgpack import Key
from puna.formats.containers.flax_pack import Parts, array_parts, parts_bytes, stream_parts, tree_parts

SHAPES = [(), (1,), (0,), (7,), (2, 3), (127,), (128,), (255,), (256, 2), (65535,), (65536,), (3, 1, 2, 5), (1, 1)]


def pack(value: Any) -> bytes:
    content = msgpack.packb(value)
    assert content is not None
    return content


def written(parts: Parts, x: np.ndarray) -> bytes:
    flat = x.reshape(-1)
    return b"".join(part if isinstance(part, bytes) else flat[slice(*part)].tobytes() for part in parts)


def numbers(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    return (np.arange(math.prod(shape)) % 101).astype(dtype).reshape(shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_an_array_is_what_msgpack_packs(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    parts = array_parts(shape, dtype)
    expected = pack(msgpack.ExtType(1, pack((shape, dtype, x.tobytes()))))
    assert written(parts, x) == expected
    assert parts_bytes(parts, dtype) == len(expected)


@pytest.mark.parametrize("name", ["a", "x" * 31, "x" * 32, "x" * 255, "x" * 256, "层"])
def test_a_message_is_what_msgpack_packs(name: str) -> None:
    x = numbers((3, 4))
    leaf = array_parts(x.shape, "float32")
    expected = pack((("a", name), written(leaf, x)))
    assert written(stream_parts(("a", name), leaf, "float32"), x) == expected


def test_a_message_longer_than_a_byte_string_can_be_is_refused() -> None:
    leaf = array_parts((2**20, 2**10), "float32")
    with pytest.raises(OverflowError):
        stream_parts(("a",), leaf, "float32")
    assert parts_bytes(stream_parts(("a",), array_parts((2**20, 2**10), "bfloat16"), "bfloat16"), "bfloat16") > 2**31


@pytest.mark.oracle
@pytest.mark.parametrize("limit", [1, 5, 16, 1000, 2**30])
def test_an_array_is_what_flax_writes_cut_where_flax_cuts_it(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import flax.serialization
    import jax.numpy as jnp

    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", limit)
    monkeypatch.setattr(flax_msgpack, "MAX_CHUNK_BYTES", limit)
    for shape in SHAPES[:8]:
        for dtype in ("float32", "float16", "bfloat16", "int32"):
            x = numbers(shape, jnp.dtype(dtype))
            assert written(array_parts(shape, dtype), x) == flax.serialization.to_bytes(x), (shape, dtype)


@pytest.mark.oracle
@pytest.mark.parametrize("limit", [40, 2**30])
def test_a_tree_is_what_flax_writes(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import flax.serialization
    import jax
    from flax.traverse_util import unflatten_dict

    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", limit)
    monkeypatch.setattr(flax_msgpack, "MAX_CHUNK_BYTES", limit)
    keys: list[Key] = [("z",), ("a", "b", "c"), ("a", "bb"), ("a", "b", "d", "e"), *[("m", str(i)) for i in range(20)]]
    arrays = {key: numbers((index + 1, 3)) for index, key in enumerate(keys)}
    laid_out = {key: array_parts(arrays[key].shape, "float32") for key in sorted(keys)}
    content = b"".join(
        part if isinstance(part, bytes) else written([part], arrays[key]) for key, part in tree_parts(laid_out)
    )
    tree = jax.tree_util.tree_map(lambda x: x, unflatten_dict(arrays))
    assert content == flax.serialization.msgpack_serialize(tree, in_place=True)
