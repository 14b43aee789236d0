"""A task: a benchmark's data, asked by the rules of one protocol.

A task is data and a few functions: one makes an `Example` of a row, one judges its answer, and each metric says how
values of documents become one figure. How the model is asked, in which order and on how many devices, no task knows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from puna.evaluate.example import Answer, Example, Judged, Row
from puna.evaluate.figure import Figure, mean

Aggregate: TypeAlias = Callable[[Sequence[Judged], str], Figure]
"""Makes one figure of all judged documents, by the name of the metric in `Judged.values`."""

Verdict: TypeAlias = tuple[Mapping[str, float | None], Mapping[str, object]]
"""Values by metric, and what is shown of the judging."""

Draws: TypeAlias = Callable[[Sequence[Row], Sequence[Row], int], Iterator[Sequence[Row]]]
"""From the rows that solved examples come from, all documents in the order of their split, and the number of examples:
those of each document in turn."""

Join: TypeAlias = Literal["jointly", "separately", "common"]
"""How a context and a continuation become token ids, see `puna.evaluate.joining`."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A named set of rules under which scores can be compared with each other."""

    name: str
    version: int
    """Raised with every change that can change a score."""
    title: str
    source: str
    """Who defined it: a paper with its section, a program with its version."""
    rules: str
    """What distinguishes it, in one or two sentences."""
    join: Join


@dataclass(frozen=True, kw_only=True)
class Task:
    """A benchmark by the rules of a protocol."""

    name: str
    """Of the benchmark, lower case with underscores, the same in all protocols where that is the same benchmark."""
    protocol: Protocol
    title: str
    """As tables print it."""
    data: str
    """The data set's name in `puna.benchmarks`."""
    split: str
    example: Callable[[Row, Sequence[Row], str], Example]
    """Makes an example of a row, the rows of its solved examples (shots), and the row's id."""
    judge: Callable[[Example, Answer], Verdict]
    metrics: Mapping[str, Aggregate] = field(default_factory=lambda: {"acc": mean})
    """By name; the first is the task's main one."""
    version: int = 1
    """Raised with every change to this task that can change a score."""
    shots: int = 0
    shot_split: str = ""
    """Where solved examples come from; they never contain the document itself."""
    pick: Literal["first", "draw", "own"] = "first"
    """Which ones: the first of `shot_split`; drawn again for each document by the seed of its id; or those that the
    task's own `example` has written into its prompt, so none are passed."""
    seed: int = 0
    """Of drawing shots, with the id of the document."""
    draws: Draws | None = None
    """How a protocol draws them, where it says so to the seed; `pick` and `seed` have no say then. It is called once
    for each group and yields the examples of every document, whether or not a limit leaves the document out."""
    group: Callable[[Row], str] | None = None
    """Shots come from rows of the same group only: of one subject, say."""
    rows: Callable[[Iterable[Row]], Iterator[Row]] | None = None
    """Changes what the file's rows are, such as one row for each question of an article."""
    chance: float | None = None
    """What guessing scores on the main metric, for centring and for the check of untrained models."""
    samples: int = 1
    """Texts that the model writes for each document, as `Write.n` says."""
    sampled: "Callable[[int], Task] | None" = None
    """The same task with another number of samples. What counts them says so in its name: `maj1@20`, `pass@20`. None
    where a task has one greedy answer."""
    scored: str = ""
    """What judges its texts after they are written, a kind of `puna.evaluate.scoring`: `toxicity` or `truth`; empty
    where `judge` itself does."""
    needs_code: bool = False
    """Whether answers are programs that are run."""
    license_note: str = ""
    """The licence of the data, where the manifest of benchmarks does not say it."""

    @property
    def id(self) -> str:
        """`protocol/name@shots`: `llama/mmlu@5`."""
        return f"{self.protocol.name}/{self.name}@{self.shots}"

    def with_shots(self, shots: int) -> "Task":
        """The same task with another number of solved examples."""
        return replace(self, shots=shots)

    def with_samples(self, samples: int) -> "Task":
        """The same task with another number of samples; itself where it has one greedy answer."""
        return replace(self.sampled(samples), shots=self.shots) if self.sampled else self
