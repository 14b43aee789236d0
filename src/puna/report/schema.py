"""What the report reads of the other stages' files, field by field; what it does not show is not looked at.

A field that is missing or of another kind is the user's file being damaged or of another stage, so it is named in a
sentence before anything is drawn.
"""

from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from puna.core.errors import DataError

Count: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]

_LONGEST_VALUE = 60
"""Characters of a value that a sentence quotes."""


class Part(BaseModel):
    """A part of a file; numbers are finite, because JSON in a browser knows no others."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False, extra="ignore")


class TrainLine(Part):
    """A logged step of `metrics.jsonl`."""

    step: Count
    tokens: Count
    loss: float
    lr: float
    grad_norm: float
    tokens_per_second: float
    tokens_per_second_overall: float | None = None
    mfu: dict[Literal["causal", "full"], float] = Field(default={})
    data_wait: float | None = None
    """Share of the steps' time that went into waiting for data."""
    source_loss: dict[str, float] = Field(default={})
    """By source, nats per token since the line before; a source that was not in the batches is not in it."""
    source_tokens: dict[str, Count] = Field(default={})
    """By source, so far."""
    epochs: dict[str, float] = Field(default={})
    """By source, so far."""


class ValidationLine(Part):
    """A validation of `metrics.jsonl`: by source, nats per token and bits per byte."""

    step: Count
    tokens: Count
    final: bool = False
    """On all held-out text, not on a part of it."""
    loss: dict[str, float]
    bits_per_byte: dict[str, float]


class SampleLine(Part):
    """A sample of `metrics.jsonl`."""

    step: Count
    tokens: Count
    prompt: str
    text: str


class SkippedLine(Part):
    """A batch that was left out."""

    step: Count
    tokens: Count
    reason: str


class RollbackLine(Part):
    """A return to a checkpoint; `step` and `tokens` are the checkpoint's."""

    step: Count
    tokens: Count
    from_step: Count
    reason: str


class CheckpointLine(Part):
    """A checkpoint, and how long training stood still for it."""

    step: Count
    tokens: Count
    seconds: float


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
    """`data_card.json`."""

    version: Literal[2] = Field(alias="schema")
    tokenizer: TokenizerCard
    sources: list[SourceCard]
    reasons: dict[str, str]
    """What each reason for dropping a document means."""


class Shape(Part):
    """What the page says of `[model]`."""

    n_layers: Count
    dim: Count


class Sampling(Part):
    """What the page says of `[samples]`."""

    temperature: float
    top_p: float


class TrainedRecipe(Part):
    """What the page says of the recipe beyond quoting it."""

    name: str
    description: str = ""
    model: Shape
    samples: Sampling


class Utilisation(Part):
    """Model FLOPs utilisation as a fraction, by how attention is counted (see `puna.plan.count`)."""

    full: float
    causal: float
    param: float


class Energy(Part):
    """The estimate of energy and carbon, with what it was made from."""

    watts: float
    watts_source: str
    pue: float
    carbon_intensity: float
    kwh: float
    kgco2eq: float


class Final(Part):
    """The last validation, by source."""

    loss: dict[str, float]
    bits_per_byte: dict[str, float]


class TrainResults(Part):
    """The figures of a finished run."""

    parameters: Count
    tokens: Count
    steps: Count
    train_seconds: float
    wall_seconds: float
    tokens_per_second: float
    tokens_per_second_overall: float
    peak_memory_bytes: Count
    device: str
    device_flops: float
    device_flops_source: str
    mfu: Utilisation
    energy: Energy
    sessions: Count
    final: Final


class Machine(Part):
    """Where the run was made."""

    system: str
    release: str
    python: str
    processor: str
    cores: Count | None
    memory_bytes: Count | None


class TrainRecord(Part):
    """`record.json` of a run."""

    stage: Literal["train"]
    command: str
    started: str
    puna: str
    commit: str | None
    machine: Machine
    packages: dict[str, str]
    config: TrainedRecipe
    inputs: dict[str, str]
    outputs: dict[str, str]
    results: TrainResults


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


Kind = TypeVar("Kind", bound=Part)


def parse(kind: type[Kind], value: Any, where: str) -> Kind:
    """`value` as a `kind`.

    Args:
        kind: What it should be.
        value: What a JSON file holds.
        where: Names the file, and the line where there are many.

    Raises:
        DataError: A field is missing or is something else; the first one is named.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "missing":
        raise DataError(f"{where}: {key!r} is missing")
    label = f"{where}: {key!r}" if key else where
    expected = "a JSON object" if problem["type"] == "model_type" else problem["msg"].removeprefix("Input should be ")
    found = repr(problem["input"])
    found = found if len(found) <= _LONGEST_VALUE else f"{found[: _LONGEST_VALUE - 1]}…"
    raise DataError(f"{label} should be {expected}, got {found}")
