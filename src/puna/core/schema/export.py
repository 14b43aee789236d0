"""What is read of the proof of an export."""

from pydantic import Field

from puna.core.schema.part import Count, Part


class QuantizedWeights(Part):
    """The weights that an export holds in one quantized type."""

    tensors: Count
    relative_rms_error: float


class ExportWeights(Part):
    """What an export's weights are, compared with the model's."""

    tensors: Count
    identical: Count
    converted: dict[str, Count]
    quantized: dict[str, QuantizedWeights]


class ExportTokenizer(Part):
    """The forms of the tokenizer that an export holds, and the strings on which they agree."""

    forms: list[str]
    strings: Count


class Perplexity(Part):
    """Of the model and of its export, on one text."""

    source: float
    written: float


class ExportOutputs(Part):
    """What the model and its export say of the same tokens, where their weights are not the same bits."""

    tokens: Count
    text: str
    max_abs_difference: float
    mean_kl: float
    same_most_likely: float
    perplexity: Perplexity | None


class ExportResults(Part):
    """The figures of an export's proof."""

    format: str = ""
    """Empty where the directory's name says it."""
    choices: list[str] = Field(default=[])
    """Options of `puna export` that made the files what they are."""
    weights: ExportWeights
    tokenizer: ExportTokenizer | None
    outputs: ExportOutputs | None
    oracle: str | None
    oracle_missing: str = "no other implementation has run this model"
    logits_max_abs_difference: float | None = None
    logits_tolerance: float | None = None
    logits_tokens: Count | None = None
    notes: list[str] = Field(default=[])
    """What the format has no place for, and tensors of another type than was asked for."""


class ExportRecord(Part):
    """`equivalence.json` of an export."""

    results: ExportResults
