"""Tasks of lm-evaluation-harness by their names, quickly and with the data that is on this machine.

The harness reads all of its 14,000 task files before it runs one. Here only the folders are read that name the task;
all of them if these do not do. Where a task's data set is one of `puna.benchmarks` and here, its rows are those, so
that nothing is downloaded and their hashes are the manifest's; others the harness gets from the hub itself.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from puna.core.console import say
from puna.core.errors import EvaluateError, UserError
from puna.evaluate.documents import OpenSplit, Rows
from puna.evaluate.example import Row

Loaded: TypeAlias = Mapping[str, Any]
"""As `lm_eval.tasks.TaskDict`: `tasks`, `groups` and `group_map`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Local:
    """A data set of the harness as Puna has it."""

    name: str
    """In the manifest of `puna.benchmarks`."""
    only: Callable[[Row, str], bool] = field(default=lambda row, configuration: True)
    """Which of its rows a configuration of the hub's data set has."""


def _of_subject(row: Row, configuration: str) -> bool:
    return row["subject"] == configuration


def _of_type(row: Row, configuration: str) -> bool:
    return row["type"].lower().replace(" & ", "_and_").replace(" ", "_") == configuration


LOCAL: Mapping[str, Local | Mapping[str, Local]] = {
    "Rowan/hellaswag": Local(name="hellaswag"),
    "baber/piqa": Local(name="piqa"),
    "lighteval/siqa": Local(name="social_iqa"),
    "allenai/winogrande": {"winogrande_xl": Local(name="winogrande")},
    "allenai/ai2_arc": {"ARC-Easy": Local(name="arc_easy"), "ARC-Challenge": Local(name="arc_challenge")},
    "allenai/openbookqa": {"main": Local(name="openbookqa")},
    "aps/super_glue": {
        "wsc.fixed": Local(name="wsc"),
        "rte": Local(name="superglue_rte"),
        **{name: Local(name=name) for name in ("boolq", "cb", "copa", "wic", "record")},
    },
    "facebook/anli": Local(name="anli"),
    "cais/mmlu": Local(name="mmlu", only=_of_subject),
    "truthfulqa/truthful_qa": {"multiple_choice": Local(name="truthful_qa_choices")},
    "google-research-datasets/nq_open": Local(name="nq_open"),
    "openai/gsm8k": {"main": Local(name="gsm8k")},
    "gsm8k": {"main": Local(name="gsm8k")},
    "EleutherAI/lambada_openai": {"default": Local(name="lambada_openai")},
    "EleutherAI/hendrycks_math": Local(name="math", only=_of_type),
}  # fmt: skip
"""By the hub's repository, and where the configuration decides by that too. Sets of another edition are not here."""


@dataclass(kw_only=True)
class Data:
    """Where the data of tasks comes from."""

    open_split: OpenSplit
    """Opens what is on this machine."""
    shots: int | None
    """Solved examples; None is each task's own number."""
    opened: dict[tuple[str, str], dict[str, Rows]] = field(default_factory=dict)
    """The local splits that were taken, by the hub's repository and configuration."""
    _rows: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    """All rows of a split, since many tasks read the same one."""

    def of(self, config: Any) -> dict[str, list[dict[str, Any]]]:
        """The rows of a task's splits by split, empty unless all that it needs is here."""
        configuration = config.dataset_name or ""
        local = LOCAL.get(config.dataset_path or "")
        local = local.get(configuration) if isinstance(local, Mapping) else local
        if local is None:
            return {}
        opened = {}
        for split in _needed(config, self.shots):
            try:
                opened[split] = self.open_split(local.name, split)
            except EvaluateError:  # the manifest does not have this split
                return {}
            if opened[split].missing:
                return {}
        self.opened[config.dataset_path, configuration] = opened
        for split, found in opened.items():
            if (local.name, split) not in self._rows:
                self._rows[local.name, split] = [dict(row) for row in found.rows]
        return {
            split: [row for row in self._rows[local.name, split] if local.only(row, configuration)] for split in opened
        }


def task_split(config: Any) -> str:
    """The split of a task's documents."""
    return config.test_split or config.validation_split or ""


def _needed(config: Any, shots: int | None) -> list[str]:
    """The splits that a task reads: that of its documents, and that of its solved examples.

    One that its file names is read in any case, the training split only if examples are shown.
    """
    named = config.fewshot_config.split if config.fewshot_config else config.fewshot_split
    shown = shots or (shots is None and config.num_fewshot)
    splits = [task_split(config), named or (config.training_split if shown else None)]
    return [split for split in dict.fromkeys(splits) if split]


def load_tasks(names: Sequence[str], data: Data) -> Loaded:
    """The harness's tasks, groups and tags of these names, and those of YAML files of one's own.

    Raises:
        EvaluateError: There is no such task, its file is damaged, or its data is neither here nor to be had.
        UserError: lm_eval is not installed.
    """
    if find_spec("lm_eval") is None:
        raise UserError("lm_eval is not installed", hint="pip install 'puna[harness]'")
    from lm_eval.tasks import TaskManager

    folders = _folders(names)
    with _data_of(data):
        try:
            return TaskManager(include_path=folders, include_defaults=False).load(list(names))
        except (KeyError, ValueError):  # the folders lack a part of what a group or tag names
            say("lm-eval: reads all of its task files, which takes a while")
            return _of_all(TaskManager(), names)
        except (OSError, ImportError) as error:
            raise _cannot_load(names, error) from None


def _of_all(manager: Any, names: Sequence[str]) -> Loaded:
    known = manager.all_tasks
    for name in names:
        if name not in known and not Path(name).is_file():
            raise EvaluateError(f"lm-eval has no task {name!r}", hint=_near(name, known))
    try:
        return manager.load(list(names))
    except (OSError, ImportError, KeyError, ValueError) as error:
        raise _cannot_load(names, error) from None


def _cannot_load(names: Sequence[str], error: Exception) -> EvaluateError:
    first = str(error).strip().partition("\n")[0]
    return EvaluateError(f"lm-eval cannot make {', '.join(names)}: {type(error).__name__}: {first}")


def _folders(names: Sequence[str]) -> list[str | Path]:
    """The folders of the harness's task files in which these names are defined."""
    root = Path(next(iter(find_spec("lm_eval").submodule_search_locations))) / "tasks"  # type: ignore[union-attr, arg-type]
    any_name = "|".join(re.escape(name) for name in names)
    defines = re.compile(
        rf"^(?:[\"']?(?:task|group|tag)[\"']?:\s*|\s*-\s+)[\"']?(?:{any_name})[\"']?\s*$", re.MULTILINE
    )
    found = {
        root / file.relative_to(root).parts[0]
        for file in root.rglob("*.yaml")
        if defines.search(file.read_text("utf-8", errors="replace"))
    }
    return [*sorted(found)]


def _near(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=3)
    return f"did you mean {', '.join(close)}?" if close else "`lm_eval ls tasks` names all"


@contextmanager
def _data_of(data: Data) -> Iterator[None]:
    """While tasks are made, local data is theirs where there is some; the harness offers no other place for it."""
    import datasets
    from lm_eval.api.task import ConfigurableTask

    download = ConfigurableTask.download

    def local_first(task: Any, dataset_kwargs: dict[str, Any] | None = None, **more: Any) -> None:
        if rows := data.of(task.config):
            task.dataset = {split: datasets.Dataset.from_list(of) for split, of in rows.items()}
            for name in ("training_split", "validation_split", "test_split"):
                if getattr(task.config, name) not in rows:
                    setattr(task.config, name, None)
            return
        try:
            download(task, dataset_kwargs, **more)
        except (OSError, ValueError, RuntimeError) as error:
            first = str(error).strip().partition("\n")[0]
            raise EvaluateError(
                f"lm-eval task {task.config.task}: its data set {task.config.dataset_path} is not here and cannot be "
                f"downloaded ({first})"
            ) from None

    ConfigurableTask.download = local_first  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigurableTask.download = download  # type: ignore[method-assign]
