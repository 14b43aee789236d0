"""The oracle is llama.cpp's own C code, out of the library that `xllamacpp` brings."""

import ctypes
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from puna.formats.gguf.quantize import dequantize, quantize
from puna.formats.gguf.types import DTYPES, TYPES

gguf = pytest.importorskip("gguf")

QUANTIZED = [name for name in TYPES if name not in DTYPES]
WRITTEN = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
K_QUANTS = ["Q4_K", "Q5_K", "Q6_K"]
Library = Callable[[str], Callable[..., None]]


@pytest.fixture(scope="module")
def llama_cpp() -> Library:
    """llama.cpp's functions by name; they take source, destination and the number of values."""
    xllamacpp = pytest.importorskip("xllamacpp")
    library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)

    def function(name: str) -> Callable[..., None]:
        found = getattr(library, name)
        found.argtypes, found.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64], None
        return found

    return function


def c_name(kind: str) -> str:
    return kind if kind == "MXFP4" else kind[0].lower() + kind[1:] if kind.endswith("_K") else kind.lower()


def theirs(llama_cpp: Library, values: npt.NDArray[np.float32], kind: str) -> npt.NDArray[np.uint8]:
    out = np.empty((len(values), TYPES[kind].row_bytes(values.shape[1])), np.uint8)
    llama_cpp(f"quantize_row_{c_name(kind)}_ref")(values.ctypes.data, out.ctypes.data, values.size)
    return out


def drawn(name: str, rows: int, columns: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(0)
    made = {
        "normal": rng.standard_normal((rows, columns)) * 0.02,
        "heavy tails": rng.standard_t(4, (rows, columns)) * 0.01,
        "shifted": rng.standard_normal((rows, columns)) * 0.02 + 0.01,
    }
    return made[name].astype(np.float32)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
@pytest.mark.parametrize("name", ["normal", "heavy tails", "shifted"])
def test_blocks_of_32_are_llama_cpps_bytes(llama_cpp: Library, kind: str, name: str) -> None:
    values = drawn(name, 300, 480)
    values[7] = 0
    np.testing.assert_array_equal(quantize(torch.from_numpy(values), kind), theirs(llama_cpp, values, kind))


@pytest.mark.oracle
@pytest.mark.parametrize("kind", K_QUANTS)
@pytest.mark.parametrize("name", ["normal", "heavy tails", "shifted"])
def test_k_quants_are_not_further_off_than_llama_cpps(llama_cpp: Library, kind: str, name: str) -> None:
    values = drawn(name, 256, 2048)
    weight = np.abs(values) + np.sqrt((values.reshape(-1, 32) ** 2).mean(1)).repeat(32).reshape(values.shape)
    both = quantize(torch.from_numpy(values), kind), theirs(llama_cpp, values, kind)
    off = [dequantize(blocks, kind).numpy() - values for blocks in both]
    ours, reference = (np.sqrt((error**2).mean()) for error in off)
    assert ours <= reference
    ours, reference = (np.sqrt((weight * error**2).mean()) for error in off)
    assert ours <= reference


@pytest.mark.oracle
@pytest.mark.parametrize("kind", QUANTIZED)
def test_random_blocks_dequantize_to_llama_cpps_bits(llama_cpp: Library, kind: str) -> None:
    """Any bytes, but scales that are numbers: which not-a-number comes out is not promised."""
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (40, TYPES[kind].row_bytes(1024)), np.uint8)
    expected = np.empty((40, 1024), np.float32)
    llama_cpp(f"dequantize_row_{c_name(kind) if kind != 'MXFP4' else 'mxfp4'}")(
        raw.ctypes.data, expected.ctypes.data, expected.size
    )
    found = dequantize(raw, kind).numpy()
    usable = np.isfinite(expected) & np.isfinite(found)
    assert usable.mean() > 0.5
    np.testing.assert_array_equal(found[usable], expected[usable])


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_slabs_and_threads_change_nothing(kind: str, dtype: torch.dtype) -> None:
    w = torch.randn(700, 512, generator=torch.Generator().manual_seed(0)).to(dtype)
    whole = quantize(w, kind)
    np.testing.assert_array_equal(whole, np.concatenate([quantize(w[:300], kind), quantize(w[300:], kind)]))
    found = dequantize(whole, kind)
    np.testing.assert_array_equal(found.numpy(), gguf.quants.dequantize(whole, gguf.GGMLQuantizationType[kind]))
    assert (found - w.float()).norm() < 0.1 * w.float().norm()


@pytest.mark.parametrize("kind", WRITTEN)
def test_rows_longer_than_a_slab(kind: str) -> None:
    w = torch.randn(2, 2**17 + 256, generator=torch.Generator().manual_seed(0))
    found = dequantize(quantize(w, kind), kind)
    assert found.shape == w.shape
    assert (found - w).norm() < 0.1 * w.norm()


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.parametrize("size", [1e-45, 1e-40, 1e-20])
def test_weights_next_to_nothing_become_zero_without_a_warning(kind: str, size: float) -> None:
    w = torch.randn(3, 512, generator=torch.Generator().manual_seed(0)) * size
    w[1] = 1.0
    found = dequantize(quantize(w, kind), kind)
    assert torch.equal(found[::2], torch.zeros(2, 512))
    torch.testing.assert_close(found[1], w[1], rtol=1e-3, atol=0)
