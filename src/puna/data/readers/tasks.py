"""The format `tasks`: rows of tasks, which templates of the recipe write as question and answer, or are written.

A row is of the task that its column `task` (or `task_name`) names, or else of that with the name of its file. If the
recipe has templates for this task (`data.sources.NAME.tasks.TASK`), they write the row. If it has none, the row is
written already and has `inputs` and `targets`, as the public dumps of the Flan Collection (Longpre et al. 2023) have.

The exemplars of a few-shot prompt are other rows of the same task in the same file: of at most 64 of them, which are
drawn from all of its rows by their ids, and none of which is held out. What is drawn depends on the name of the source
and on the row's place in its file alone.
"""

import heapq
import json
import posixpath
from collections.abc import Iterator
from typing import Any

from puna.chat.example import Example
from puna.chat.messages import Message
from puna.config.data import Source
from puna.config.tasks import TaskTemplates
from puna.data.document import Dropped, Raw
from puna.data.input_file import InputFile
from puna.data.readers import task_patterns
from puna.data.readers.example_rows import (
    NO_COLUMNS,
    ExamplesReader,
    RowError,
    damage_of,
    document_id,
    parsed_row,
    reasons_of,
)
from puna.data.readers.rows import row_fields
from puna.data.readers.turns import check_answers, read_said
from puna.data.spec import ReaderSpec
from puna.data.text.decode import turn_text
from puna.shards.split import hash_fraction, is_heldout

NO_PATTERN = "no_pattern"
_POOL = 64
"""Rows of a task that may be exemplars."""
_LONGEST_EXEMPLAR = 1 << 13
"""Bytes of a row that may be an exemplar."""
_SHOTS = "shots"


class TasksReader(ExamplesReader):
    """Reads rows of tasks; arguments as for `ExamplesReader`."""

    form = "tasks"

    def __init__(self, name: str, source: Source, limit: int) -> None:
        super().__init__(name, source, limit)
        self._settings, self._tasks = source, source.tasks

    def records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """The rows of a file, as JSON, with those that stand before them in a few-shot prompt."""
        if not any(templates.few_shot for templates in self._tasks.values()):
            yield from super().records(file)
            return
        pools = self._pools(file)
        for record in super().records(file):
            yield self._with_shots(record, pools) if isinstance(record, Raw) else record

    def example(self, row: dict[str, Any], raw: Raw) -> Example:
        """The question and answer of a row."""
        task = self._task(row, raw.id)
        if task in self._tasks:
            asked, target = self._written(row, raw, self._tasks[task])
        else:
            name, inputs = self.value(row, "prompt", ("inputs",))
            other, targets = self.value(row, "completion", ("targets",))
            if not (name and other):
                detail = f"the recipe has no templates for the task {task!r}, and the row has no inputs and targets"
                raise RowError(NO_COLUMNS, detail)
            task = self.task_of(row)
            asked, target = read_said(inputs, name), turn_text(targets) if isinstance(targets, str) else ""
        turns = (Message("user", asked), Message("assistant", target))
        check_answers(turns, "the row")
        return Example(messages=turns, task=task)

    def _written(self, row: dict[str, Any], raw: Raw, templates: TaskTemplates) -> tuple[str, str]:
        choice = self._choice(row, raw, templates)
        if choice is None:
            raise RowError(NO_PATTERN, f"no pattern of its task has all its fields in {', '.join(row)[:200]}")
        shots = json.loads(raw.fields.get(_SHOTS, "[]"))
        if choice.few_shot and shots:
            return task_patterns.write_after(choice, row, shots)
        if choice.few_shot:
            choice = task_patterns.without_shots(choice, templates, row)
        return task_patterns.write(choice, row)

    def _choice(self, row: dict[str, Any], raw: Raw, templates: TaskTemplates) -> task_patterns.Choice | None:
        return task_patterns.choose(templates, row, f"{self._source}/{raw.id}")

    def _task(self, row: dict[str, Any], identity: str) -> str:
        name = posixpath.basename(identity.rpartition("#")[0])
        return self.task_of(row) or name.partition(".")[0]

    def _pools(self, file: InputFile) -> dict[str, list[tuple[float, str, dict[str, Any]]]]:
        """The rows that may be exemplars, by task: those with the smallest numbers, which their ids give."""
        pools: dict[str, list[tuple[float, str, dict[str, Any]]]] = {}
        for record in super().records(file):
            if not isinstance(record, Raw) or len(record.content) > _LONGEST_EXEMPLAR:
                continue
            if (row := _row(record)) is None or (task := self._task(row, record.id)) not in self._tasks:
                continue
            if is_heldout(self._settings, self._source, document_id(record, row_fields(row))):
                continue
            pool = pools.setdefault(task, [])
            entry = (-hash_fraction(f"{self._source}/{record.id}/exemplar"), record.id, row)
            (heapq.heappush if len(pool) < _POOL else heapq.heappushpop)(pool, entry)
        return {task: sorted(pool, key=lambda entry: entry[:2]) for task, pool in pools.items()}

    def _with_shots(self, raw: Raw, pools: dict[str, list[tuple[float, str, dict[str, Any]]]]) -> Raw:
        row = _row(raw)
        if row is None or (templates := self._tasks.get(task := self._task(row, raw.id))) is None:
            return raw
        choice = self._choice(row, raw, templates)
        if choice is None or not choice.few_shot:
            return raw
        pool = [other for _, identity, other in pools.get(task, []) if identity != raw.id]
        shots = task_patterns.exemplars(choice, templates, row, pool)
        return Raw(raw.id, raw.content, {_SHOTS: json.dumps(shots)}) if shots else raw


def _row(raw: Raw) -> dict[str, Any] | None:
    """The columns of a row; None of one that cannot be read, which `document` says."""
    try:
        return parsed_row(raw.content)
    except (RowError, UnicodeDecodeError):
        return None


READER = ReaderSpec(
    name="tasks",
    make=TasksReader,
    reads="rows of tasks, written by the templates of the recipe, or written already",
    reasons=reasons_of("tasks") | {f"tasks.{NO_PATTERN}": "It lacks a column that every pattern of its task has."},
    damage=damage_of("tasks"),
)
