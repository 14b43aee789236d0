"""All saved steps of a run on benchmarks: the curves over tokens that its report draws."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from puna.core.console import muted, say
from puna.core.errors import EvaluateError
from puna.core.records import read_record
from puna.core.reference import whole_run
from puna.core.schema.train_state import list_checkpoints
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.api.evaluate import Evaluation
    from puna.api.recipes import PathLike
    from puna.core.layout import RunDir


@dataclass(frozen=True, kw_only=True)
class RunEvaluation:
    """Those of a run's saved steps; `print` shows the main figure of each task over the steps."""

    evaluations: "list[Evaluation]"
    """In the order of the steps."""

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        results = [evaluation.results for evaluation in self.evaluations]
        for id in dict.fromkeys(task.id for one in results for task in one.tasks):
            for one in results:
                for task in one.tasks:
                    if task.id == id:
                        name, metric = task.main
                        value = "not measured" if metric.value is None else f"{metric.value:.4f}"
                        if metric.value is not None and metric.high is not None and metric.stderr:
                            value += f" ± {metric.high - metric.value:.4f}"
                        yield f"{id}  {name}  step {one.model.step:,}  {value}  n {task.n:,}"


def evaluate_checkpoints(run: "PathLike", **options: Any) -> RunEvaluation:
    """Ask every saved step of a run the same questions, the oldest step first.

    Each step has a directory of its own, `RUN/evaluations/step-NNNNNNNN`. What these have already is not asked again,
    so the call can be made again as the run goes on, or where it was interrupted. `puna report RUN` draws the curves.

    Args:
        run: The directory of a run, finished or not.
        options: Those of `evaluate`, but for the directory of the results.

    Raises:
        EvaluateError: As `evaluate`; or a directory is given, or an adapter, which is of one moment alone.
        CheckpointError: It is not a run, is a moment of one, or has saved nothing; or a checkpoint is damaged.
        FormatError: As `evaluate`.
        TokenizerError: As `evaluate`.
        GenerateError: As `evaluate`.
        StorageError: As `evaluate`.
    """
    from puna.api.evaluate import evaluate

    if given := [name for name in ("out", "name") if options.get(name) is not None]:
        raise EvaluateError(f"--{given[0]} is for one evaluation, and every saved step has a directory of its own")
    if options.get("adapter") is not None:
        raise EvaluateError(
            "an adapter was trained on one moment of a run, and every saved step is another model",
            hint="name that moment: RUN@step-400 --adapter PATH",
        )
    found = whole_run(user_path(run), "puna evaluate {} --all-checkpoints")
    places = _places(found)
    if not places:
        raise EvaluateError(f"{found}: has saved no step yet, so there is nothing to evaluate")
    done = []
    for number, place in enumerate(places, 1):
        with muted(os.environ.get("RANK", "0") != "0"):
            say(f"{place}, {number} of {len(places)}")
        done.append(evaluate(place, **options))
    return RunEvaluation(evaluations=done)


def _places(run: "RunDir") -> list[str]:
    """Every saved step as a user would name it; the last one of a finished run is its model."""
    steps = {step: f"{run}@step-{step}" for step, _ in list_checkpoints(run)}
    record = read_record(run.record) if run.has_model else None
    if record is not None and isinstance(last := record["results"].get("steps"), int):
        steps[last] = str(run)
    return [steps[step] for step in sorted(steps)]
