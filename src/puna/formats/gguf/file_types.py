"""The forms in which a whole model is written as GGUF, by llama.cpp's names."""

from typing import NamedTuple


class FileType(NamedTuple):
    """A form for a whole model, such as Q4_K_M."""

    number: int
    """The number in `general.file_type` (llama.h, llama_ftype)."""
    base: str
    """The type of most matrices."""


FILE_TYPES = {
    "F32": FileType(0, "F32"),
    "F16": FileType(1, "F16"),
    "BF16": FileType(32, "BF16"),
    "Q8_0": FileType(7, "Q8_0"),
    "Q4_0": FileType(2, "Q4_0"),
    "Q4_K_S": FileType(14, "Q4_K"),
    "Q4_K_M": FileType(15, "Q4_K"),
    "Q5_K_S": FileType(16, "Q5_K"),
    "Q5_K_M": FileType(17, "Q5_K"),
    "Q6_K": FileType(18, "Q6_K"),
}
"""The forms that `puna export --to gguf` writes, by llama.cpp's names."""

MEDIUM = {"Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
"""Short names, as llama.cpp understands them."""
