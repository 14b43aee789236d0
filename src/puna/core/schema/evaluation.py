"""What an evaluation leaves: `results.json`, and one line of JSON for each document of a task.

`puna evaluate` writes them; tables, pages, comparisons and the report of a run read them, without `puna.evaluate`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from puna.core.bounded import parse_json
from puna.core.errors import DataError
from puna.core.files import read_text
from puna.core.schema.part import Count, Number, Part, parse

SCHEMA = 1
"""Version of both formats; a reader refuses another one."""
GOLD = "gold_bits_per_byte"
"""The metric that evaluations during training add to every task that has right answers: the model's surprise at them,
which falls smoothly long before the model begins to choose them."""


class Metric(Part):
    """One figure over documents, as `puna.evaluate.figure.Figure`, with its 95 % interval by Student's t."""

    value: float | None
    """None where no document could be measured."""
    n: Count
    """Documents that it is computed from."""
    missing: Count = 0
    """Documents whose value could not be measured; they are in no figure."""
    stderr: float | None = None
    low: float | None = None
    high: float | None = None


class Cut(Part):
    """What was left out of the beginnings of contexts because the model's context is shorter."""

    documents: Count = 0
    tokens: Count = 0


class EvaluatedModel(Part):
    """The model that was evaluated."""

    path: str
    """As the user named it; of a run's moment with its step: `runs/demo@step-400`."""
    title: str
    """For columns of tables."""
    weights_sha256: str | None = None
    """Of all weights together; None of an endpoint."""
    tokenizer_sha256: str | None = None
    step: Count | None = None
    """The optimizer steps that a run had done; None of a model that is not a run's."""
    tokens: Count | None = None
    """The tokens that a run had been trained on."""
    parameters: Count | None = None


class EngineUsed(Part):
    """What computed the model."""

    title: str
    exact: bool
    """Whether a score's bits depend on its own tokens alone, in any company."""
    weights: str | None = None
    """What matrices were made; None is as they are stored."""


class TaskResult(Part):
    """The figures of one task, with all that decides whether others can be compared with them."""

    id: str
    """`protocol/name@shots`."""
    title: str
    protocol: str
    protocol_version: Count
    task_version: Count
    data: str
    """The data set's name in the manifest of benchmarks; of a user's own task its file's name."""
    data_sha256: str
    split: str
    licence: str = ""
    shots: Count
    shot_split: str = ""
    bos: Literal["one", "none"]
    """Whether the tokenizer puts a beginning-of-sequence token before texts."""
    n: Count
    """Documents that were asked."""
    of: Count
    """Documents that the split has."""
    limit_seed: Count | None = None
    """Of drawing a part of the documents; None where all were asked."""
    samples: Count | None = None
    """Texts for each document, where that is not the task's own number."""
    metrics: dict[str, Metric]
    """By name; the first is the task's main one."""
    categories: dict[str, dict[str, Metric]] = Field(default={})
    chance: float | None = None
    """What guessing scores on the main metric."""
    cut: Cut = Cut()
    moved: Count = 0
    """Pairs in which a token of the context is scored too, because it spans the join."""
    seconds: float = 0.0
    """Seconds that the asking took, over all sessions."""
    requests: Count = 0
    """Likelihoods and texts that the model was asked for."""
    tokens_read: Count = 0
    """Tokens of all contexts and continuations; those that requests share are counted each time."""
    contamination: str = "unknown"
    """Whether the model's training data was decontaminated against this set: `decontaminated`, `contaminated`,
    `not compared` or `unknown`, as `puna.evaluate.contamination` defines them."""
    isolation: str | None = None
    """Of tasks that run programs: what kept them from the rest of the machine."""
    scorer: str | None = None
    """Of tasks that need a judge of texts: which one it was."""

    @property
    def main(self) -> tuple[str, Metric]:
        """The task's main metric, by name."""
        return next(iter(self.metrics.items()))


class Results(Part):
    """The content of `results.json`."""

    version: Literal[1] = Field(default=SCHEMA, alias="schema")
    model: EvaluatedModel
    engine: EngineUsed
    tasks: list[TaskResult]
    suite: str | None = None
    missing: dict[str, str] = Field(default={})
    """Tasks that were asked for and could not be done, each with the reason in a sentence."""

    def as_dict(self) -> dict[str, Any]:
        """The content as JSON has it."""
        return self.model_dump(mode="json", by_alias=True)


class OwnLikelihood(Part):
    """What an option's likelihood is divided by."""

    context: str
    continuation: str
    logprob: Number
    tokens: Count
    greedy: bool = False
    cut: Count = 0
    moved: bool = False


class ScoredText(Part):
    """A continuation, or a whole text, with the model's likelihood of it."""

    context: str | None = None
    """What the model read before it; None where that is the document's `context`."""
    continuation: str
    text: str | None = None
    """What the characters and bytes are counted of; None where that is the continuation."""
    logprob: Number
    """The natural logarithm of its probability."""
    tokens: Count
    greedy: bool = False
    cut: Count = 0
    moved: bool = False
    own: OwnLikelihood | None = None


class WrittenText(Part):
    """A text that the model wrote."""

    text: str
    tokens: Count
    finish: str
    cut: Count = 0


class DocumentLine(Part):
    """A document with its answer and what that is worth: one line of `documents/PROTOCOL-TASK-SHOTS.jsonl`."""

    id: str
    category: str = ""
    kind: Literal["choose", "continue", "read", "write"]
    context: str = ""
    """What all options share, or the prompt of written texts."""
    options: list[ScoredText] = Field(default=[])
    gold: list[Count] = Field(default=[])
    """The places of the right options, from 0."""
    facts: dict[str, Any] = Field(default={})
    written: list[WrittenText] = Field(default=[])
    values: dict[str, float | None]
    """By metric; None where it could not be measured."""
    shown: dict[str, Any] = Field(default={})
    """What judging found on the way."""


def read_results(path: Path) -> Results:
    """The results of an evaluation.

    Args:
        path: `results.json`.

    Raises:
        DataError: It cannot be read, is damaged, or was written in another version of the format.
    """
    found = parse_json(read_text(path, DataError).encode(), str(path), DataError)
    return parse(Results, found, str(path))


def read_documents(path: Path) -> Iterator[DocumentLine]:
    """The documents of a task, in the order in which they were asked.

    Args:
        path: A file of an evaluation's `documents/`. Its first line says what was asked, and is not given.

    Raises:
        DataError: It cannot be read, or a line is damaged; the line is named.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number > 1:
                    where = f"{path}: line {number}"
                    yield parse(DocumentLine, parse_json(line, where, DataError), where)
    except OSError as failure:
        raise DataError(f"{path}: cannot be read: {failure.strerror}") from None
