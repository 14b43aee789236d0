"""Results in the two forms that Hugging Face's hub shows on a model's page.

`.eval_results/TASK.yaml` is the present one: a list of values, each with the data set, the date and a note.
`model-index` is the older one, for the head of the model card; the hub still reads it and other sites do, too. Tasks
whose data is not on the hub are in neither, because both name the data by its place there.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from puna.benchmarks.manifest import manifest
from puna.core.files import write_text
from puna.core.layout import EvaluationDir
from puna.core.schema.evaluation import Metric, Results, TaskResult

_PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[a-z][a-z_-]*", re.IGNORECASE)
"""Keys that need no quotes; the words left out are values of other types in YAML 1.1."""
_TYPES = {"acc": "accuracy", "acc_norm": "accuracy", "exact_match": "exact_match", "em": "exact_match", "f1": "f1"}
"""The hub's names of metrics; others keep theirs, as in `pass@1` and `maj1@100`."""


def write_hub_results(evaluation: EvaluationDir, results: Results, date: str) -> list[str]:
    """Write both forms; returns the ids of tasks that have none because their data is not on the hub.

    Args:
        evaluation: Where `.eval_results/` and `model-index.yaml` go.
        results: What came of it.
        date: When the evaluation began, by ISO 8601.

    Raises:
        StorageError: The disk is full or not writable.
    """
    there = [(task, place) for task in results.tasks if (place := _on_hub(task)) is not None]
    for task, (repository, config) in there:
        entries = [
            {"dataset": {"id": repository, "task_id": config}, "value": metric.value, "date": date}
            | {"notes": f"{name}: {_note(task, metric)}"}
            for name, metric in task.metrics.items()
            if metric.value is not None
        ]
        file = evaluation.hub_results / f"{evaluation.documents_of(task.id).stem}.yaml"
        write_text(file, yaml(entries))
    listed = [one for task, place in there for one in _indexed(task, *place)]
    write_text(evaluation.model_index, yaml({"model-index": [{"name": results.model.title, "results": listed}]}))
    return [task.id for task in results.tasks if _on_hub(task) is None]


def yaml(value: Any) -> str:
    """JSON values as YAML in its block style, which every reader of YAML 1.1 and 1.2 reads as the same values."""
    return "\n".join(_block(value)) + "\n"


def _block(value: Any) -> Iterator[str]:
    """The lines of a value, without indentation."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            name = key if _PLAIN.fullmatch(key) else _scalar(key)
            if isinstance(below, dict | list) and below:
                yield f"{name}:"
                yield from ("  " + line for line in _block(below))
            else:
                yield f"{name}: {_scalar(below)}"
    elif isinstance(value, list) and value:
        for below in value:
            first, *rest = _block(below)
            yield f"- {first}"
            yield from ("  " + line for line in rest)
    else:
        yield _scalar(value)


def _scalar(value: Any) -> str:
    """A value in one line; numbers with an exponent get the point that YAML 1.1 wants."""
    if isinstance(value, str):
        # JSON writes characters beyond 16 bits as two escapes, which YAML takes for two characters.
        return '"' + "".join(map(_character, value)) + '"'
    text = json.dumps(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")
    return text


def _character(character: str) -> str:
    """A character between double quotes."""
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"


def _on_hub(task: TaskResult) -> tuple[str, str] | None:
    """The repository and configuration that hold a task's data, where the data is a known one."""
    entry = manifest().get(task.data)
    split = entry.splits.get(task.split) if entry else None
    for place in split.places if split else ():
        if place.kind == "hub":
            first, *rest = place.files.split("/")
            return place.what, first if rest else "default"
    return None


def _indexed(task: TaskResult, repository: str, config: str) -> Iterator[dict[str, Any]]:
    """A task's results as `model-index` has them, one for each metric."""
    for name, metric in task.metrics.items():
        if metric.value is not None:
            yield {
                "task": {"type": "text-generation", "name": "Text generation"},
                "dataset": {"type": repository, "name": task.title, "config": config, "split": task.split}
                | {"args": {"num_few_shot": task.shots, "note": _note(task, metric)}},
                "metrics": [{"type": _TYPES.get(name, name), "name": name, "value": metric.value, "verified": False}],
            }


def _note(task: TaskResult, metric: Metric) -> str:
    """What decides whether the value can be compared with others, in one line."""
    parts = [f"{task.id}, protocol version {task.protocol_version}, task version {task.task_version}"]
    parts.append(f"{metric.n:,} of {task.of:,} documents" if task.n < task.of else f"{metric.n:,} documents")
    if metric.stderr is not None:
        parts.append(f"standard error {metric.stderr:.4g}")
    if metric.missing:
        parts.append(f"{metric.missing:,} not measured")
    return "; ".join(parts)
