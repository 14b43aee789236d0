"""The types of a GGUF file's tensors: their numbers, and how many values and bytes a block of each has (ggml's table).

A quantized row is a sequence of blocks: Q4_0 keeps 32 values in 18 bytes, K-quants keep 256 values in a super-block.
"""

from typing import NamedTuple


class TensorType(NamedTuple):
    """One type that Puna reads."""

    name: str
    number: int
    values: int
    """Values per block; a row is a whole number of blocks."""
    n_bytes: int
    """Bytes that a block takes."""

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row; `columns` is a multiple of `values`."""
        return columns // self.values * self.n_bytes


DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Types that are not quantized, and their dtypes."""

TYPES = {
    kind.name: kind
    for kind in (
        TensorType("F32", 0, 1, 4),
        TensorType("F16", 1, 1, 2),
        TensorType("BF16", 30, 1, 2),
        TensorType("Q4_0", 2, 32, 18),
        TensorType("Q4_1", 3, 32, 20),
        TensorType("Q5_0", 6, 32, 22),
        TensorType("Q5_1", 7, 32, 24),
        TensorType("Q8_0", 8, 32, 34),
        TensorType("Q2_K", 10, 256, 84),
        TensorType("Q3_K", 11, 256, 110),
        TensorType("Q4_K", 12, 256, 144),
        TensorType("Q5_K", 13, 256, 176),
        TensorType("Q6_K", 14, 256, 210),
        TensorType("IQ2_XXS", 16, 256, 66),
        TensorType("IQ2_XS", 17, 256, 74),
        TensorType("IQ3_XXS", 18, 256, 98),
        TensorType("IQ1_S", 19, 256, 50),
        TensorType("IQ4_NL", 20, 32, 18),
        TensorType("IQ3_S", 21, 256, 110),
        TensorType("IQ2_S", 22, 256, 82),
        TensorType("IQ4_XS", 23, 256, 136),
        TensorType("IQ1_M", 29, 256, 56),
        TensorType("TQ1_0", 34, 256, 54),
        TensorType("TQ2_0", 35, 256, 66),
        TensorType("MXFP4", 39, 32, 17),
    )
}
"""Every type that Puna reads, by ggml's name."""

BY_NUMBER = {kind.number: kind for kind in TYPES.values()}

UNREAD = {9: "Q8_1", 15: "Q8_K", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 40: "NVFP4", 41: "Q1_0"}
"""Names of types that Puna does not read, for the error message."""
