"""Builds of a few documents with their index."""

from searching import write_build
from shelf import any_tokenizer, byte_tokenizer, no_waiting_for_the_disk, tokenizer

__all__ = ["any_tokenizer", "byte_tokenizer", "no_waiting_for_the_disk", "tokenizer", "write_build"]
