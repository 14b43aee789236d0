"""The data's section of a recipe: sources, their formats and the rules that they pass through."""

import re
import warnings
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

from puna.config.plugins import Plugins, relocated, resolve
from puna.config.rules import RULES, DedupConfig, RuleName, Rules
from puna.config.section import ConflictError, Count, Positive, Section, SourceName
from puna.config.tasks import TaskTemplates

Share = Annotated[float, Field(gt=0, le=1e18)]
"""A source's share of the training tokens, in any unit."""

EXAMPLES = ("conversations", "preferences", "tasks")
"""Formats whose records are examples of instruction tuning; a recipe with [finetune] has no other ones, and one without
it none of them."""

FORMATS = (
    "text", "jsonl", "parquet", "arrow", "warc", "wet", "code", "wikipedia", "gutenberg", "arxiv", "stackexchange",
    *EXAMPLES,
)  # fmt: skip
"""What Puna's own readers read."""

Column = Literal[
    "messages",
    "system",
    "prompt",
    "completion",
    "instruction",
    "input",
    "output",
    "chosen",
    "rejected",
    "task",
    "tools",
]
"""What a column of examples can be; `puna.data.readers.conversations` and `preferences` say what each means."""

Format = Annotated[str, WithJsonSchema({"anyOf": [{"enum": [*FORMATS]}, {"type": "string"}]})]
"""One of `FORMATS`, or that of a plug-in."""


FORMAT_OF_ENDING = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".arrow": "arrow", ".wet": "wet", ".warc": "warc",
}  # fmt: skip
"""The format of files whose names end so, compressed or not."""

_PACKED = re.compile(r"(\.(gz|bz2|xz|zst|zstd|lz4))+$", re.IGNORECASE)


def format_of(name: str) -> str:
    """The format that the end of a file's name or of a pattern tells; empty where it tells none."""
    plain = _PACKED.sub("", name).lower()
    return next((form for ending, form in FORMAT_OF_ENDING.items() if plain.endswith(ending)), "")


class Source(Section):
    """One source of documents: files found by a pattern, read as a format and passed through rules."""

    kind: Literal["package", "python-stdlib", "files"] = "files"
    """Where the files are: in an installed Python package, in Python's standard library, or in a directory."""
    package: str = ""
    """kind = "package": its import name; its files are read, it is never imported."""
    path: str = ""
    """kind = "files": the directory, or a URL that fsspec opens, such as s3:// or hf://datasets/."""
    include: list[str] = Field(min_length=1)
    """Glob patterns, relative to the root of the source, of the files to read."""
    exclude: list[str] = Field(default=[])
    """Glob patterns of files to leave out."""
    format: Format = Field(default="", validate_default=True)
    """Format of the files. Empty: what the endings in `include` tell (.jsonl, .parquet, .arrow, .warc, .wet), else
    `text`. `text` (each is one document), `jsonl` (such as C4), `parquet`, `arrow` (a saved Hugging Face dataset),
    `warc` and `wet` (CommonCrawl), `code` (files, archives of them, or rows of JSON lines or Parquet with `content`),
    `wikipedia` (XML dumps), `gutenberg`, `arxiv` (LaTeX source archives), `stackexchange` (Posts.xml).
    For instruction tuning, as JSON lines, a JSON list, Parquet or Arrow, by the files' first bytes: `conversations`
    (messages of OpenAI's or ShareGPT's form, prompt and completion, Alpaca's fields), `preferences` (chosen and
    rejected answers), `tasks` (rows that templates write, or with inputs and targets, as those of the Flan Collection
    have)."""
    text_field: str = "text"
    """format = "jsonl", "parquet" or "arrow": the column of the text."""
    columns: dict[Column, Annotated[str, Field(min_length=1)]] = Field(default={})
    """Formats of instruction tuning: the names of columns that are not the usual ones, such as
    {prompt = "question", completion = "answer"}. Where it names one, no others are looked for, except `system`, `task`
    and `tools`."""
    tasks: dict[Annotated[str, Field(min_length=1)], TaskTemplates] = Field(default={})
    """format = "tasks": the templates of each task, by the name in the column `task` or else of the file."""
    sites: int = Field(default=0, ge=0, lt=2**31)
    """format = "stackexchange": how many sites, the largest by bytes; 0 takes all. LLaMA: 28."""
    clean: list[RuleName] = Field(default=[])
    """The rules of `[data.rules]` that documents pass through, in this order."""
    licence: str = ""
    """The licence of the text for the data card, if the documents do not state their own."""
    heldout_pattern: str = ""
    """Regular expression: documents with a match in their id are held out for validation."""
    heldout_fraction: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the documents to hold out, chosen by a hash of the id."""

    @model_validator(mode="after")
    def _consistent(self) -> "Source":
        conflicts = []
        for kind, field in (("package", "package"), ("files", "path")):
            if (self.kind == kind) != bool(getattr(self, field)):
                verb = "needs" if self.kind == kind else "takes no"
                conflicts.append((f"kind = {self.kind!r} {verb} {field!r}", ["kind", field]))
        if bool(self.heldout_pattern) == bool(self.heldout_fraction):
            sentence = "give either heldout_pattern or heldout_fraction, so that something validates the model"
            if self.heldout_pattern:
                sentence += f"; both are set, and heldout_fraction = {self.heldout_fraction:g} may be that of a recipe "
                sentence += "which this one extends: heldout_fraction = 0 takes it back"
            conflicts.append((sentence, ["heldout_pattern", "heldout_fraction"]))
        if self.sites and self.format != "stackexchange":
            conflicts.append((f"format = {self.format!r} takes no 'sites'", ["format", "sites"]))
        if self.text_field != "text" and self.format not in ("jsonl", "parquet", "arrow"):
            conflicts.append((f"format = {self.format!r} takes no 'text_field'", ["format", "text_field"]))
        if self.columns and self.format not in EXAMPLES:
            conflicts.append((f"format = {self.format!r} takes no 'columns'", ["format", "columns"]))
        if self.tasks and self.format != "tasks":
            conflicts.append((f"format = {self.format!r} takes no 'tasks'", ["format", "tasks"]))
        if len(set(self.clean)) != len(self.clean):
            conflicts.append(("clean names a rule twice", ["clean"]))
        if conflicts:
            raise ConflictError(conflicts)
        return self

    @field_validator("format")
    @classmethod
    def _by_endings(cls, form: str, info: ValidationInfo) -> str:
        """The format that nothing stands for: that of all patterns, or text."""
        told = {format_of(pattern) for pattern in info.data.get("include", [])}
        return form or (told.pop() if len(told) == 1 else "") or "text"

    @field_validator("heldout_pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            with warnings.catch_warnings(action="ignore"):
                re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return pattern


class DataConfig(Section):
    """The sources of text. The mixture decides how much of each the model sees."""

    sources: dict[SourceName, Source] = Field(default={}, max_length=127)
    """The sources by name."""
    rules: Rules = Rules()
    """The thresholds of the rules that the sources name."""
    dedup: DedupConfig = DedupConfig()
    """Removal of documents that occur twice."""
    keep_dropped: bool = False
    """Whether the text of dropped documents is kept too, so that `puna data inspect` shows it; their names and reasons
    always are."""
    most_lost: float = Field(default=0.05, ge=0, le=1)
    """Share of a source that may be lost without anybody choosing it: of its files, of its records, of its text (the
    bytes of all parts that are missing), or, where nobody knows how many bytes such parts had, of its documents that
    lack one. Above it the build ends with a warning, which the card repeats. The default is ours: one part in
    twenty."""
    max_document_bytes: Count = 64_000_000
    """Bytes; a larger document is dropped. This bounds the memory of a task, which takes up to some ten times as
    much."""
    task_bytes: Count = 1_000_000_000
    """Bytes of input files, as stored on the disk, that one task reads; a larger file is a task of its own."""
    chunk_bytes: Count = 64_000_000
    """Bytes of raw records after which a task saves its work: no more than this is repeated after a kill."""
    partitions: Positive = 8
    """Parts into which the shuffles of deduplication are split; a task holds one part in memory, about 25 bytes per
    line or 170 x bands bytes per document divided by this."""
    shard_tokens: Count = 100_000_000
    """Tokens after which a token shard is closed and the next one begun: about 200 MB of 16-bit ids."""
    plugins: Plugins = Plugins()
    """Where rules and readers came from that are not Puna's own."""

    @model_validator(mode="wrap")
    @classmethod
    def _known_names(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Names of rules and formats, and the settings of plug-ins; what is wrong with them is said with all else."""
        if not isinstance(values, dict):
            return handler(values)
        values, problems = resolve(values, RULES, FORMATS)
        try:
            config = handler(values)
            if not problems:
                return config
        except ValidationError as error:
            problems = [*relocated(error), *problems]
        raise ValidationError.from_exception_data(cls.__name__, problems)

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A recipe without plug-ins does not speak of them."""
        table = handler(self)
        if not any(table.get("plugins", {}).values()):
            table.pop("plugins", None)
        return table

    @model_validator(mode="after")
    def _known_sources(self) -> "DataConfig":
        conflicts = []
        for field in ("near", "contained"):
            unknown = [name for name in getattr(self.dedup, field).sources if name not in self.sources]
            if unknown:
                sentence = f"dedup.{field}.sources names {', '.join(unknown)} but sources are"
                conflicts.append((f"{sentence} {', '.join(self.sources) or 'none'}", [f"dedup.{field}.sources"]))
        for rule, field in (("perplexity", "perplexity"), ("wikipedia-like", "wikipedia_like")):
            users = [name for name, source in self.sources.items() if rule in source.clean]
            if users and not getattr(self.rules, field).model:
                sentence = f"sources.{users[0]}.clean names {rule!r}, which needs rules.{field}.model"
                conflicts.append((sentence, [f"rules.{field}.model", f"sources.{users[0]}.clean"]))
        users = [name for name, source in self.sources.items() if "decontaminate" in source.clean]
        if users and not self.rules.decontaminate.sets:
            sentence = f"sources.{users[0]}.clean names 'decontaminate', which needs rules.decontaminate.sets"
            conflicts.append((sentence, ["rules.decontaminate.sets", f"sources.{users[0]}.clean"]))
        if conflicts:
            raise ConflictError(conflicts)
        return self
