"""The proof of an export, `equivalence.json`: `puna export` writes it, `puna report` reads it."""

from pydantic import Field

from puna.core.schema.lineage import Parent
from puna.core.schema.part import Count, Part


class QuantizedWeights(Part):
    """The weights that an export holds in one quantized type."""

    tensors: Count
    relative_rms_error: float


class ExportWeights(Part):
    """How an export's weights compare with the model's."""

    tensors: Count
    identical: Count
    converted: dict[str, Count]
    quantized: dict[str, QuantizedWeights]


class ExportTokenizer(Part):
    """The forms of the tokenizer that an export holds, and the strings on which they agree."""

    forms: list[str]
    strings: Count


class Perplexity(Part):
    """Perplexity of the model and of its export, on one text."""

    source: float
    written: float


class ExportOutputs(Part):
    """How the outputs of the model and its export differ on the same tokens, if their weights differ in bits."""

    tokens: Count
    max_abs_difference: float
    """Largest difference of a logit."""
    mean_kl: float
    """Of the export's next-token distribution from the model's, in nats."""
    same_most_likely: float
    """Share of positions."""
    perplexity: Perplexity | None
    """None where no float holds it, and of random tokens, of which it says nothing."""
    text: str
    """Where the tokens come from."""


class Comparison(Part):
    """An export read back, beside the model that it was made from."""

    format: str = ""
    """Empty if it is the directory's name."""
    weights: ExportWeights
    outputs: ExportOutputs | None
    """None where the weights are the same bits, or the models were not run."""
    tokenizer: ExportTokenizer | None


class OracleResults(Part):
    """What another implementation says of an export."""

    oracle: str | None
    """Its name and version; None where none has run it."""
    oracle_missing: str = "no other implementation has run this model"
    """Why no other implementation has run the model."""
    logits_max_abs_difference: float | None = None
    logits_tolerance: float | None = None
    """The largest difference that was allowed; None where it is only reported."""
    logits_tokens: Count | None = None


class ExportResults(OracleResults, Comparison):
    """The figures of an export's proof."""

    step: Count | None = None
    """The optimizer steps that the run had done, where a checkpoint was exported; None of a finished model."""
    lineage: list[Parent] = Field(default=[])
    """What the run was extended, branched or continued from, oldest first."""
    choices: list[str] = Field(default=[])
    """Options of `puna export` that these files were made with."""
    notes: list[str] = Field(default=[])
    """Remarks: values that the format cannot hold, and tensors of another type than asked for."""


class ExportRecord(Part):
    """`equivalence.json` of an export."""

    inputs: dict[str, str] = Field(default={})
    """SHA-256 of the model's files, by name."""
    results: ExportResults
