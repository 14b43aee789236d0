"""The data card, `card.json` of a build and `data_card.json` of a run: what the text is and what a run reads of it.

The data build writes `CardFacts`, which hold for any run; `puna.shards.card` adds the shares of a recipe's run.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from puna.core.schema.part import Count, Part

SCHEMA = 3
"""Version of the format; a reader refuses another one."""


class Amount(Part):
    """Some documents, and the bytes of their UTF-8 text."""

    documents: Count
    bytes: Count


class Counts(Part):
    """One split of one source."""

    documents: Count
    bytes: Count
    tokens: Count | None
    """None of examples, which become tokens in the run that knows the model."""
    bytes_per_token: float | None


class StepCard(Part):
    """What a step got, let on and dropped; what it cut from documents that stay is the difference of the bytes."""

    step: str
    came: Amount = Field(alias="in")
    out: Amount
    lost: Amount
    dropped: dict[str, Amount]
    """Documents dropped, by the name of the reason."""


class Overlap(Part):
    """What a source has in common with an evaluation set."""

    documents: Count
    rows: Count
    """Rows of the evaluation set that were found in the documents."""
    of: Count
    """All rows of the evaluation set."""
    compared: Count
    """Rows with an n-gram."""
    whole: Count
    """Shorter rows that are compared whole."""
    sha256: dict[str, str] = Field(default={})
    """The hash of each of its files, by the file's name; of a benchmark's splits those of the manifest."""


class LostParts(Part):
    """One kind of what documents or files have lost without being dropped."""

    documents: Count
    """Documents that have lost something of the kind; they may have been dropped later."""
    parts: Count
    bytes: Count
    """0 where nobody knows."""


class FilesOutcome(Part):
    """Input files that gave nothing, or could be read only in part."""

    reasons: dict[str, Count]
    """Files by the most frequent reason of each."""
    named: dict[str, dict[str, Count]]
    """The first of them by name, each with its records by reason."""


class FilesRead(Part):
    """The input files of a source."""

    read: Count
    bytes: Count
    """As they are stored."""
    nothing: FilesOutcome
    broken: FilesOutcome


class LostCard(Part):
    """What a source has lost without anybody choosing it."""

    damaged: Amount
    """Records that could not be read or understood; they are also among the dropped ones."""
    parts: dict[str, LostParts]
    files: FilesRead


class NearGroups(Part):
    """Groups of nearly equal documents, of which one stays that is of the source; equal ones are among them."""

    groups: Count
    documents: Count
    """In the groups, with the ones that stay."""
    sizes: dict[str, Count]
    """Groups by their size, from `2` to the next power of two."""
    largest: Count
    """Documents of the largest group."""
    largest_least: float | None
    """Estimated Jaccard similarity of its least like document with the one that stays."""
    like: dict[str, Count]
    """All documents but the ones that stay, by tenths of that similarity, rounded down."""
    stay: Count
    """Documents that stay since they are less like than `dedup.near.least`."""


class Others(Part):
    """All names that are not among the most frequent."""

    names: Count
    documents: Count
    bytes: Count


class Named(Part):
    """Documents by a name that they bear, and those without one."""

    named: dict[str, Amount]
    unknown: Amount


class MostNamed(Part):
    """Documents by the most frequent names, by all others together, and those without one."""

    named: dict[str, Amount]
    others: Others
    unknown: Amount


class ExamplesCard(Part):
    """What the examples of a source are, for instruction tuning."""

    turns: Count
    """Of the system prompt, users, the assistant and tools, of both answers of a pair."""
    answers: Count
    """Turns of the assistant among them."""
    pairs: Count
    """Examples that are two answers to the same turns."""
    tasks: MostNamed


class PaperRow(Part):
    """What LLaMA's table 1 says of a source."""

    share: float
    epochs: float


class SourceFacts(Part):
    """One source, whatever run will read it."""

    name: str
    licence: str
    version: str
    format: str
    clean: list[str]
    splits: dict[str, Counts]
    steps: list[StepCard]
    dropped: dict[str, Count]
    """Documents by reason, over all steps."""
    lost: LostCard
    duplicates: dict[str, Amount | None]
    """By kind; None for a kind that was not looked for."""
    near_groups: NearGroups | None
    """None where nearly equal documents were not looked for."""
    evaluation_sets: dict[str, Overlap] | None
    """None where the source was not compared."""
    languages: MostNamed
    licences: MostNamed
    years: Named
    examples: ExamplesCard | None = None
    """None of a source of text."""
    unigram_bits_per_byte: float | None
    """None for examples, which are not tokens yet."""
    paper: PaperRow | None


class Built(Part):
    """What the order of the data gives a run of a source: whole sequences."""

    share: float
    tokens: Count
    epochs: float


class SourceCard(SourceFacts):
    """One source with what a run reads of it."""

    share: float
    """As planned, of the run's tokens; of its examples, for instruction tuning."""
    run_tokens: float | None
    """None of examples, whose run counts them."""
    epochs: float | None
    max_epochs: float | None
    built: Built | None
    """None where the order is refused, or the source has no whole sequence."""


class Threshold(Part):
    """A setting of a rule."""

    name: str
    value: Any
    meaning: str


class RuleCard(Part):
    """A rule that documents passed through."""

    about: str
    thresholds: list[Threshold]


class TokenizerText(Part):
    """What a source has given to the text that the tokenizer was trained on, in bytes."""

    wanted: Count
    """Its share of the mixture, of the whole text."""
    available: Count
    taken: Count


class TokenizerCard(Part):
    """The tokenizer of the data card."""

    kind: Literal["sentencepiece", "byte-bpe"]
    vocab_size: Count
    sha256: str
    text: dict[str, TokenizerText]
    """What each source has given, by its name."""


class BuildCard(Part):
    """How the build was made."""

    started: str
    puna: str
    commit: str | None
    python: str
    packages: dict[str, str]
    recipe_sha256: str
    files_sha256: str
    documents_sha256: str
    max_document_bytes: Count
    keep_dropped: bool
    most_lost: float
    """`data.most_lost` of the recipe."""


class RunCard(Part):
    """The run that a card was made for."""

    tokens: Count | None
    """None for examples, which it counts itself."""
    stages: Count
    refused: str
    """Why no run with this mixture can start; empty where one can."""


class CardFacts(Part):
    """What a card says of a build, whatever run will read it."""

    version: Literal[3] = Field(alias="schema")
    tokenizer: TokenizerCard | None
    """None of examples: the model that is tuned brings its own."""
    sources: Sequence[SourceFacts]
    rules: dict[str, RuleCard]
    dedup: dict[str, Any]
    """`[data.dedup]` of the recipe."""
    reasons: dict[str, str]
    """What each reason for dropping a document and each kind of loss means."""
    build: BuildCard


class DataCard(CardFacts):
    """`card.json` and `data_card.json`."""

    sources: list[SourceCard]
    name: str
    description: str
    run: RunCard

    @property
    def unigrams(self) -> dict[str, float]:
        """Bits per byte of held-out text by token frequencies alone, by source; of examples none."""
        found = {source.name: source.unigram_bits_per_byte for source in self.sources}
        return {name: bits for name, bits in found.items() if bits is not None}
