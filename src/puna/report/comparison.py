"""Several training runs side by side: what differs in their recipes, and what came of it; no tensor is read.

Runs may be unfinished, even at work. They are compared by bits per byte of held-out text, which do not depend on the
tokenizer; their mean over the sources is weighted by the first run's mixture, so that it is the same mean for all.
Time and energy are those of optimizer steps, which every logged line has: what lies between the steps depends on how
often a recipe validates and saves.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Any

from puna.config.explain import flatten
from puna.config.toml import inline
from puna.core.schema.lines import EvaluationLine, PreferenceLine, TrainLine, ValidationLine
from puna.core.schema.run import TrainResults
from puna.report.preference_charts import over_all
from puna.report.wording import MIXED, Wording, common_wording

_UNTOLD = ("name", "description")
"""Keys of a recipe that say nothing about how a run goes."""

_MOST_KEYS_ACROSS = 4


@dataclass(frozen=True)
class Power:
    """The power of a run's devices, and what an hour of it costs."""

    watts: float
    """Of all devices together, under load."""
    pue: float
    """Power usage effectiveness."""
    carbon_intensity: float
    """Emissions of the electricity in kg CO2eq per kWh."""

    def kwh(self, seconds: float) -> float:
        """Energy in kWh of the devices under load for `seconds`."""
        return seconds / 3600 * self.watts * self.pue / 1000


@dataclass(frozen=True)
class ComparedRun:
    """One run as it is now, or as it was at a checkpoint."""

    name: str
    """What it is called in the comparison; no other run of it has the same name."""
    place: str
    """The run as the user gave it."""
    recipe: dict[str, Any]
    step: int
    """Optimizer steps done."""
    total_steps: int
    """Optimizer steps that its recipe asks for."""
    tokens: int
    """Tokens that it has learned from."""
    parameters: int | None
    train: list[TrainLine]
    validations: list[ValidationLine]
    samples: dict[str, str]
    """The newest text by prompt."""
    results: TrainResults | None
    """The figures of its record; None where it is not finished."""
    tokenizer: str
    """SHA-256 of its tokenizer; empty where its directory does not say."""
    documents: str
    """SHA-256 of the documents that it was built from; empty where its directory does not say."""
    device: str
    """The device that trained it; empty where it is not known."""
    power: Power | None
    """None where the devices' power is not known."""
    ancestry: list[str]
    """A sentence for each run or model that it comes from, the oldest first."""
    evaluations: list[EvaluationLine] = field(default_factory=list)
    """Of benchmarks, while it was trained."""
    preferences: list[PreferenceLine] = field(default_factory=list)
    """How held-out pairs of answers were told apart; empty where it learns from something else."""
    template: str = ""
    """SHA-256 of the chat template that it is tuned with; empty of other runs, and where its directory does not say."""

    @property
    def finished(self) -> bool:
        """Whether it has been trained to its end."""
        return self.results is not None

    @property
    def last(self) -> ValidationLine | None:
        """The newest validation: on all held-out text where the run is finished, else on a part of it."""
        return self.validations[-1] if self.validations else None

    @property
    def during(self) -> list[ValidationLine]:
        """The validations on a part of the held-out text while it trained."""
        return [line for line in self.validations if not line.final]

    @property
    def told_apart(self) -> float | None:
        """The share of the held-out pairs that its newest validation told apart as preferred."""
        return over_all(self.preferences[-1]).accuracy if self.preferences else None

    @property
    def rate(self) -> float | None:
        """Tokens per second: the median of the logged steps."""
        return median(line.tokens_per_second for line in self.train) if self.train else None

    @property
    def mfu(self) -> float | None:
        """Model FLOPs utilisation with causal attention, as a fraction."""
        if self.results is not None:
            return self.results.mfu.causal
        shares = [line.mfu["causal"] for line in self.train if "causal" in line.mfu]
        return median(shares) if shares else None

    @property
    def seconds(self) -> float | None:
        """Seconds in optimizer steps so far."""
        return self.results.train_seconds if self.results is not None else self.seconds_at(self.tokens)

    @property
    def kwh(self) -> float | None:
        """Energy in kWh of the optimizer steps so far."""
        return None if self.power is None or self.seconds is None else self.power.kwh(self.seconds)

    def seconds_at(self, tokens: int) -> float | None:
        """Seconds in optimizer steps when the run had learned from this number of tokens.

        Between two logged steps it is on the straight line between them; None where no line has the time.
        """
        places, times = self._clock
        if len(places) == 1:
            return None
        after = min(max(1, bisect_left(places, tokens)), len(places) - 1)
        since, until = places[after - 1], places[after]
        slope = (times[after] - times[after - 1]) / (until - since) if until > since else 0.0
        return times[after - 1] + slope * (tokens - since)

    @cached_property
    def _clock(self) -> tuple[list[int], list[float]]:
        """Tokens and seconds in optimizer steps at the beginning and at each logged step."""
        known = [(line.tokens, line.seconds) for line in self.train if line.seconds is not None]
        return [0, *(tokens for tokens, _ in known)], [0.0, *(seconds for _, seconds in known)]


@dataclass(frozen=True)
class Difference:
    """A key of the recipe that is not the same everywhere."""

    key: str
    """The dotted key: `optim.lr`."""
    values: list[Any]
    """The value of each run; None where its recipe has none."""

    @property
    def texts(self) -> list[str]:
        """The values as TOML; a dash where there is none."""
        return ["-" if value is None else inline(value) for value in self.values]


@dataclass(frozen=True)
class Comparison:
    """Runs, how their recipes differ, and the weights of the mean over their sources."""

    runs: list[ComparedRun]
    differences: list[Difference]
    weights: dict[str, float]
    """The weight of each source that all runs have, in the mean; they sum to one, and are empty where no source is
    common to all."""
    notes: list[str]
    """Sentences on what cannot be compared, or only with care."""

    @cached_property
    def words(self) -> Wording:
        """What the figures of the runs are called."""
        return common_wording([run.recipe for run in self.runs])

    @property
    def with_pairs(self) -> bool:
        """Whether a run was validated on pairs of answers."""
        return any(run.preferences for run in self.runs)

    @property
    def same_tokenizer(self) -> bool:
        """Whether a loss per token means the same everywhere."""
        return len({run.tokenizer for run in self.runs}) == 1

    @property
    def keys_are_columns(self) -> bool:
        """Whether a table of the differences has a row for each run: where keys are few, and runs are more."""
        return len(self.differences) <= _MOST_KEYS_ACROSS and len(self.differences) < len(self.runs)

    @property
    def sources(self) -> list[str]:
        """Every source that a run was validated on, in the order of the runs."""
        return list(dict.fromkeys(source for run in self.runs if run.last for source in run.last.bits_per_byte))

    def mean(self, line: ValidationLine) -> float | None:
        """The mean bits per byte of the sources that all runs have; None where the line lacks one of them."""
        if not self.weights or not self.weights.keys() <= line.bits_per_byte.keys():
            return None
        return sum(weight * line.bits_per_byte[source] for source, weight in self.weights.items())

    def heldout(self, run: ComparedRun) -> float | None:
        """The mean bits per byte of a run's newest validation."""
        return self.mean(run.last) if run.last else None

    @property
    def common_tokens(self) -> int | None:
        """Tokens of the last validation while training of the run that got least far.

        None where all runs got equally far, and so can be compared by their newest validations; or where they have no
        mean.
        """
        ends = [run.during[-1].tokens for run in self.runs if run.during]
        return min(ends) if self.weights and len(ends) == len(self.runs) and len(set(ends)) > 1 else None

    def at_common_tokens(self, run: ComparedRun) -> float | None:
        """The mean of a run's validations while training at `common_tokens`.

        Between two validations it is on the straight line between them; None where the first one was later.
        """
        tokens = self.common_tokens
        points = [(line.tokens, mean) for line in run.during if (mean := self.mean(line)) is not None]
        after = bisect_left(points, (tokens or 0, float("-inf")))
        if tokens is None or after == len(points):
            return None
        until, figure = points[after]
        if until == tokens:
            return figure
        if not after:
            return None
        since, before = points[after - 1]
        return before + (figure - before) * (tokens - since) / (until - since)

    def ranked(self) -> dict[int, float]:
        """The mean on held-out text by the number of the run, of runs between which it decides.

        Those are the finished runs where there are any; none where the held-out texts are not the same.
        """
        finished = [number for number, run in enumerate(self.runs) if run.finished]
        means = {number: self.heldout(self.runs[number]) for number in finished or range(len(self.runs))}
        known = {number: mean for number, mean in means.items() if mean is not None}
        return known if len({self.runs[number].documents for number in known}) == 1 else {}

    def best(self) -> int | None:
        """The number of the run with the lowest mean on held-out text; None where no one run has it."""
        ranked = self.ranked()
        first = [number for number, mean in ranked.items() if mean == min(ranked.values())]
        return first[0] if len(ranked) > 1 and len(first) == 1 else None

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON has it; energy is in kWh, time in seconds, loss in nats per token."""
        return {
            "runs": [self._run(run) for run in self.runs],
            "differences": {difference.key: difference.values for difference in self.differences},
            "weights": self.weights,
            "common_tokens": self.common_tokens,
            "notes": self.notes,
        }

    def _run(self, run: ComparedRun) -> dict[str, Any]:
        curve = [
            {
                "step": line.step, "tokens": line.tokens, "seconds": run.seconds_at(line.tokens),
                "all_text": line.final,
                "bits_per_byte": line.bits_per_byte, "loss": line.loss, "mean_bits_per_byte": self.mean(line),
            }
            for line in run.validations
        ]  # fmt: skip
        return {
            "name": run.name, "place": run.place, "finished": run.finished, "step": run.step,
            "total_steps": run.total_steps, "tokens": run.tokens, "parameters": run.parameters,
            "pairs_told_apart": run.told_apart,
            "mean_bits_per_byte": self.heldout(run), "mean_at_common_tokens": self.at_common_tokens(run),
            "tokens_per_second": run.rate, "mfu": run.mfu,
            "train_seconds": run.seconds, "train_kwh": run.kwh, "device": run.device, "tokenizer_sha256": run.tokenizer,
            "documents_sha256": run.documents, "ancestry": run.ancestry, "validations": curve, "samples": run.samples,
        }  # fmt: skip


def compared(runs: Sequence[ComparedRun]) -> Comparison:
    """The comparison of these runs, in their order."""
    weights = _weights(runs)
    return Comparison(list(runs), _differences([run.recipe for run in runs]), weights, _notes(runs, weights))


def _differences(recipes: list[dict[str, Any]]) -> list[Difference]:
    """The keys whose values differ, in the order of the recipes."""
    tables = [{key: value for key, value in flatten(recipe) if value != {}} for recipe in recipes]
    keys = dict.fromkeys(key for table in tables for key in table if key not in _UNTOLD)
    values = {key: [table.get(key) for table in tables] for key in keys}
    return [Difference(key, found) for key, found in values.items() if any(value != found[0] for value in found)]


def _weights(runs: Sequence[ComparedRun]) -> dict[str, float]:
    """The first run's shares of the sources that all runs were validated on."""
    validated = [set(run.last.bits_per_byte) for run in runs if run.last]
    shares = runs[0].recipe.get("mixture", {})
    if not validated or not (common := set.intersection(*validated)):
        return {}
    weights = {source: float(shares.get(source, 0.0)) for source in [*shares, *sorted(common)] if source in common}
    total = sum(weights.values())
    return {source: weight / total if total else 1 / len(common) for source, weight in weights.items()}


def _notes(runs: Sequence[ComparedRun], weights: dict[str, float]) -> list[str]:
    words = common_wording([run.recipe for run in runs])
    what = words.heldout
    held = "what is held out" if words is MIXED else f"the {what}"
    notes = [
        f"{run.name} is not finished: step {run.step:,} of {run.total_steps:,}." for run in runs if not run.finished
    ]
    if len({run.finished for run in runs if run.last}) == 2:
        notes.append(f"The held-out figures of finished runs are of all {what}, the others' of a part of it.")
    if len({run.tokenizer for run in runs}) > 1:
        notes.append("The tokenizers differ, so a loss per token means something else in each; bits per byte do not.")
    if len({run.documents for run in runs}) > 1:
        notes.append(f"The data builds differ, so each run is measured on {held} of its own build.")
    if words is MIXED:
        notes.append(
            "Not all runs learn from the same: text, answers or pairs of answers. So losses cannot be compared."
        )
    if len({run.template for run in runs if run.template}) > 1:
        notes.append("The chat templates differ, so the tokens that are learned differ where they end answers.")
    measured = {source for run in runs if run.last for source in run.last.bits_per_byte}
    if missing := sorted(measured - weights.keys()):
        if weights:
            notes.append(f"The mean leaves out what not all runs have: {', '.join(missing)}.")
        else:
            notes.append("No source is common to all runs, so there is no mean to compare.")
    if len(weights) > 1 and len({str(run.recipe.get("mixture")) for run in runs}) > 1:
        notes.append(f"The mixtures differ; every mean is weighted by the shares of {runs[0].name}.")
    if len({run.device for run in runs if run.device}) > 1:
        notes.append("The devices differ, so time and energy compare machines, too.")
    return notes
