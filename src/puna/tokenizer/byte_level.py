"""Byte-level BPE's alphabet and the ways to split text before merging, under the names that GGUF files have for them.

Radford et al. 2019 write each byte as one printable character, so that vocabularies can be text: bytes that are
printable in Latin-1 stay themselves, the others become the characters from U+0100 on, in order.
"""

from typing import Any, NamedTuple

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]

LETTERS = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(0x100 + i) for i, byte in enumerate(_OTHERS)}
"""The character that stands for each byte."""

BYTES = {letter: byte for byte, letter in LETTERS.items()}
"""The byte that each character stands for."""

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""Radford et al. 2019; GPT-NeoX's too."""

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
"""Llama 3's, from Meta's tokenizer.py."""


class Split(NamedTuple):
    """How text is cut into the pieces inside which merges happen."""

    patterns: tuple[str, ...]
    """Regular expressions: each cuts the pieces left by the ones before it, at the borders of its matches."""
    ignore_merges: bool = False
    """Whether a piece that is in the vocabulary becomes one token without regard to the merges."""


GPT2, DIGITS_THEN_GPT2 = Split((GPT2_PATTERN,)), Split((r"\p{N}", GPT2_PATTERN))
LLAMA3 = Split((LLAMA3_PATTERN,), ignore_merges=True)
LLAMA_CPP_DEFAULT = Split((r"[\p{P}\$\+<=>\^~\|]+", GPT2_PATTERN, r"\p{N}+", "[0-9][0-9][0-9]"))

SPLITS = {
    "gpt-2": GPT2, "mpt": GPT2, "olmo": GPT2, "phi-2": GPT2, "jais": GPT2,
    "smollm": DIGITS_THEN_GPT2, "starcoder": DIGITS_THEN_GPT2, "refact": DIGITS_THEN_GPT2,
    "codeshell": DIGITS_THEN_GPT2,
    "llama-bpe": LLAMA3, "llama3": LLAMA3, "llama-v3": LLAMA3,
    "default": LLAMA_CPP_DEFAULT,
}  # fmt: skip
"""Ways to split by llama.cpp's name in `tokenizer.ggml.pre`; Puna writes the first of several names."""


def letters(content: bytes) -> str:
    """Bytes as a vocabulary writes them."""
    return "".join([LETTERS[byte] for byte in content])


def content_of(piece: str) -> bytes:
    """The bytes of a piece; a piece with a character that stands for no byte is plain text."""
    try:
        return bytes([BYTES[letter] for letter in piece])
    except KeyError:
        return piece.encode()


def pre_tokenizer(patterns: tuple[str, ...]) -> dict[str, Any]:
    """The `pre_tokenizer` of a tokenizer.json that splits so."""
    *before, last = patterns
    use_regex = last == GPT2_PATTERN
    steps: list[dict[str, Any]] = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in (before if use_regex else patterns)
    ]
    steps.append({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex})
    return steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}


def read_patterns(step: dict[str, Any] | None) -> tuple[str, ...] | None:
    """The regular expressions of a `pre_tokenizer`; None if it is not made of such."""
    match step:
        case {"type": "Sequence", "pretokenizers": steps}:
            read = [read_patterns(each) for each in steps]
            return None if None in read else tuple(pattern for patterns in read for pattern in patterns or ())
        case {"type": "ByteLevel"}:
            return (GPT2_PATTERN,) if step.get("use_regex", True) else ()
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
            return (pattern,)
        case {"type": "Digits"}:
            return (r"\p{N}",) if step.get("individual_digits") else (r"\p{N}+",)
    return None
