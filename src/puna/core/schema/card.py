"""The fields of the data card that are read."""

from typing import Literal

from pydantic import Field

from puna.core.schema.part import Count, Part


class Counts(Part):
    """One split of one source."""

    documents: Count
    bytes: Count
    tokens: Count
    bytes_per_token: float


class SourceCard(Part):
    """One source of the data card."""

    name: str
    licence: str
    version: str
    splits: dict[str, Counts]
    dropped: dict[str, Count]
    share: float
    run_tokens: float
    epochs: float
    unigram_bits_per_byte: float | None = None


class TokenizerCard(Part):
    """The tokenizer of the data card."""

    kind: Literal["sentencepiece", "byte-bpe"]
    vocab_size: Count
    sha256: str


class DataCard(Part):
    """The content of `data_card.json`."""

    version: Literal[2] = Field(alias="schema")
    tokenizer: TokenizerCard
    sources: list[SourceCard]
    reasons: dict[str, str]
    """What each reason for dropping a document means."""
