"""What judges texts that a model wrote, and what it judges: toxicity or truth."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A text to be judged, with what it answers."""

    prompt: str
    """What the model read."""
    text: str
    """What it wrote after that."""
    facts: Mapping[str, object]
    """What the task knows beside: of a question, true and false answers."""


class Scorer(Protocol):
    """Judges texts, such as a client of a service or a classifier."""

    title: str
    """For records, with the version or the date of what judges: scores of two of them cannot be compared."""
    batch: int
    """Passages that it takes at one time at most."""

    def score(self, passages: Sequence[Passage]) -> Sequence[Mapping[str, float | None]]:
        """For each passage a value from 0 to 1 by metric, or None where it could not be judged.

        Raises:
            EvaluateError: It cannot judge any more; what it has judged before is kept.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ScorerEntry:
    """A scorer that can be chosen: what an entry point names."""

    title: str
    """For lists of what there is."""
    open: Callable[[], Scorer]
    """Makes it ready, or raises an `EvaluateError` that says what it needs."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What scorers of one kind judge."""

    name: str
    metrics: tuple[str, ...]
    """What a scorer gives for each passage."""
    both: str = ""
    """A metric that is the product of these; empty where there is none."""

    @property
    def group(self) -> str:
        """The entry points by which packages add scorers."""
        return f"puna.{self.name}"

    def values(self, scores: Mapping[str, float | None]) -> dict[str, float | None]:
        """All metrics of a passage, by what its scorer gave."""
        found = {metric: scores.get(metric) for metric in self.metrics}
        if self.both:
            known = [value for value in found.values() if value is not None]
            found[self.both] = math.prod(known) if len(known) == len(found) else None
        return found

    @property
    def unknown(self) -> dict[str, float | None]:
        """The metrics of a passage that nothing has judged."""
        return self.values({})


TOXICITY = Kind(name="toxicity", metrics=("toxicity",))
TRUTH = Kind(name="truth", metrics=("truthful", "informative"), both="truthful_informative")
KINDS = {kind.name: kind for kind in (TOXICITY, TRUTH)}
