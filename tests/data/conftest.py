"""Sources and tokenizers that are small enough to look at."""

from shelf import (
    any_tokenizer,
    byte_tokenizer,
    full_disk,
    no_waiting_for_the_disk,
    out,
    real,
    recipe,
    shelf,
    tokenizer,
)

__all__ = [
    "any_tokenizer",
    "byte_tokenizer",
    "full_disk",
    "no_waiting_for_the_disk",
    "out",
    "real",
    "recipe",
    "shelf",
    "tokenizer",
]
