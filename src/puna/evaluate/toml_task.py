r"""A user's own tasks in a TOML file, a table for each; `--tasks FILE.toml` does them all.

```toml
[capitals]
title = "Capitals of countries"
kind = "choose"                  # which option is the likeliest; or "continue", or "write"
data = "capitals.jsonl"          # beside this file: JSON lines, CSV, TSV, Arrow or Parquet, also with .gz
context = "The capital of {country} is"
options = ["{capital}", "{other}"]
gold = "0"                       # the place of the right option from 0; with gold_is = "letter" or "text" that

[questions]
kind = "write"                   # the model writes an answer
data = "questions.jsonl"
context = "Q: {question}\nA:"
answers = "{answers}"            # a field with a text or a list of texts
stop = ["\n"]
max_tokens = 32
shots = 2                        # solved examples, from `shots_from` or else from the same rows
```

`{field}` is a field of the row, `{field.inner}` one inside of it. A solved example is the context with its answer and
a blank line. The protocol is called `own`; a task's version is made of its table, so that changed tasks are others.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, ValidationError

from puna.config.problems import nearest
from puna.config.section import Section
from puna.config.toml import read_toml
from puna.core.errors import ConfigError, EvaluateError
from puna.core.files import sha256_file, sha256_json
from puna.evaluate.example import Answer, Choose, Continue, Example, Option, Row, Write
from puna.evaluate.figure import mean
from puna.evaluate.judging import Norm, choose_by
from puna.evaluate.task import Aggregate, Join, Protocol, Task, Verdict
from puna.evaluate.template import Template, value_of

NORMS: dict[str, Norm] = {"acc": "sum", "acc_norm": "character", "acc_byte": "byte", "acc_token": "token"}
"""Ways to compare options, by the names of their metrics."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ONE_FIELD = re.compile(r"\{(?P<field>[^{}]+)\}")

Texts: TypeAlias = Annotated[list[str], Field(min_length=1)]


class _Table(Section):
    """The keys of all kinds."""

    title: str = ""
    data: str
    """A file of rows, relative to the TOML file."""
    licence: str = ""
    context: str
    """What the model reads."""
    separator: str = " "
    """What sets an answer off from the context."""
    category: str = ""
    """A template by which figures are split."""
    join: Join = "jointly"
    """As `puna.evaluate.joining`."""
    shots: Annotated[int, Field(ge=0, le=1000)] = 0
    shots_from: str = ""
    """Another file of rows, relative to the TOML file."""
    between: str = "\n\n"
    """The text after a solved example."""
    chance: Annotated[float, Field(ge=0, le=1)] | None = None


class ChooseTable(_Table):
    """Which of several options is the likeliest."""

    kind: Literal["choose"]
    options: Texts | str
    """Templates; or one field that has a list of texts."""
    gold: str
    """A template of the right option."""
    gold_is: Literal["place", "letter", "text"] = "place"
    metrics: Annotated[list[Literal["acc", "acc_norm", "acc_byte", "acc_token"]], Field(min_length=1)] = Field(
        default=["acc_norm", "acc"]
    )


class ContinueTable(_Table):
    """Whether greedy generation would write the target."""

    kind: Literal["continue"]
    target: str


class WriteTable(_Table):
    """Whether the text that the model writes is one of the answers, case and punctuation at the ends aside."""

    kind: Literal["write"]
    answers: str
    """One field that has a text or a list of texts."""
    max_tokens: Annotated[int, Field(ge=1, le=1 << 20)] = 32
    stop: list[str] = Field(default=["\n"])


_TABLES: dict[str, type[_Table]] = {"choose": ChooseTable, "continue": ContinueTable, "write": WriteTable}


@dataclass(frozen=True, kw_only=True)
class FileSplit:
    """Rows of a user's file; implements `puna.evaluate.documents.Rows`."""

    path: Path
    read: Callable[[Path], Any]
    licence: str = ""

    @property
    def rows(self) -> Any:
        """The rows in the order of the file."""
        return self.read(self.path)

    @property
    def sha256(self) -> str:
        """The hash of the file; empty where it is missing."""
        return sha256_file(self.path) if self.path.is_file() else ""

    @property
    def missing(self) -> str:
        """That the file is missing, as a sentence."""
        return "" if self.path.is_file() else f"{self.path} is not there"


def is_task_file(name: str) -> bool:
    """Whether a name is that of a TOML file."""
    return name.endswith(".toml")


def read_tasks(path: Path) -> list[Task]:
    """The tasks of a TOML file, in its order.

    Raises:
        EvaluateError: It is not there, or a key is unknown, missing or of another kind.
    """
    try:
        tables = read_toml(path)
    except ConfigError as error:
        raise EvaluateError(error.message.replace("no such recipe file", "no such file")) from None
    if not tables or not all(isinstance(table, dict) for table in tables.values()):
        raise EvaluateError(f"{path}: expected a table for each task, such as [capitals]")
    return [_task(path, name, table) for name, table in tables.items()]


def _task(path: Path, name: str, values: dict[str, Any]) -> Task:
    where = f"{path}: [{name}]"
    if not _NAME.fullmatch(name):
        raise EvaluateError(f"{where}: the name of a task has lower case letters, digits and underscores only")
    table = _checked(where, values)
    try:
        example, judge, metrics = _parts(table)
    except EvaluateError as error:
        raise EvaluateError(f"{where}: {error.message}", hint=error.hint) from None
    return Task(
        name=name, protocol=_protocol(path, table.join), title=table.title or name, data=str(path), split=table.data,
        example=example, judge=judge, metrics=metrics, shots=table.shots, shot_split=table.shots_from or table.data,
        version=int(sha256_json(values)[:8], 16), chance=table.chance, license_note=table.licence,
    )  # fmt: skip


def _protocol(path: Path, join: Join) -> Protocol:
    return Protocol(
        name="own", version=1, title="own task", source=path.name, join=join,
        rules="as its file says; a token across the join belongs to the continuation or not by its `join`",
    )  # fmt: skip


def _checked(where: str, values: dict[str, Any]) -> _Table:
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _TABLES:
        found = "is missing" if kind is None else f"is {kind!r}"
        raise EvaluateError(f"{where}: 'kind' {found}, expected one of {', '.join(_TABLES)}")
    try:
        return _TABLES[kind].model_validate(values)
    except ValidationError as error:
        # An unknown key first: it may be a missing one, mistyped.
        problems = error.errors(include_url=False)
        problem = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    key = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        raise EvaluateError(f"{where}: unknown key {key!r}{nearest(key, _TABLES[kind].model_fields)}")
    if problem["type"] == "missing":
        raise EvaluateError(f"{where}: {key!r} is missing")
    expected = problem["msg"].removeprefix("Input should be ")
    raise EvaluateError(f"{where}: {key!r} is {problem['input']!r:.60}, expected {expected}")


Parts: TypeAlias = tuple[
    Callable[[Row, Sequence[Row], str], Example], Callable[[Example, Answer], Verdict], Mapping[str, Aggregate]
]


def _parts(table: _Table) -> Parts:
    match table:
        case ChooseTable():
            norms = {metric: NORMS[metric] for metric in table.metrics}
            return _choose(table), choose_by(**norms), dict.fromkeys(norms, mean)
        case ContinueTable():
            return _continue(table), _greedy, {"acc": mean}
        case WriteTable():
            return _write(table), _is_an_answer, {"exact_match": mean}
    raise AssertionError(table)  # there are no other kinds


def _choose(table: ChooseTable) -> Callable[[Row, Sequence[Row], str], Example]:
    listed = _field(table.options) if isinstance(table.options, str) else ""
    templates = [] if isinstance(table.options, str) else [Template(option) for option in table.options]
    context, gold, category = Template(table.context), Template(table.gold), Template(table.category)

    def texts(row: Row) -> list[str]:
        found = value_of(row, listed) if listed else [template.fill(row) for template in templates]
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise TypeError(f"field {listed!r} is {found!r:.60}, expected a list of texts")
        return found

    def right(row: Row) -> int:
        options, said = texts(row), gold.fill(row)
        places = {
            "place": [str(place) for place in range(len(options))], "letter": list(ascii_uppercase[: len(options)]),
            "text": options,
        }[table.gold_is]  # fmt: skip
        if said not in places:
            raise ValueError(f"gold is {said!r}, expected one of {', '.join(places)}")
        return places.index(said)

    def example(row: Row, shots: Sequence[Row], id: str) -> Example:
        solved = [context.fill(shot) + table.separator + texts(shot)[right(shot)] for shot in shots]
        before = "".join(text + table.between for text in solved) + context.fill(row)
        options = tuple(Option(context=before, continuation=table.separator + text, text=text) for text in texts(row))
        return Example(id=id, ask=Choose(options=options, gold=(right(row),)), category=category.fill(row))

    return example


def _continue(table: ContinueTable) -> Callable[[Row, Sequence[Row], str], Example]:
    context, target, category = Template(table.context), Template(table.target), Template(table.category)

    def example(row: Row, shots: Sequence[Row], id: str) -> Example:
        solved = [context.fill(shot) + table.separator + target.fill(shot) for shot in shots]
        before = "".join(text + table.between for text in solved) + context.fill(row)
        text = target.fill(row)
        ask = Continue(context=before, target=table.separator + text, text=text)
        return Example(id=id, ask=ask, category=category.fill(row))

    return example


def _write(table: WriteTable) -> Callable[[Row, Sequence[Row], str], Example]:
    context, category, field = Template(table.context), Template(table.category), _field(table.answers)

    def answers(row: Row) -> list[str]:
        found = value_of(row, field)
        listed = found if isinstance(found, list) else [found]
        if not listed or not all(isinstance(text, str) for text in listed):
            raise TypeError(f"field {field!r} is {found!r:.60}, expected a text or a list of texts")
        return listed

    def example(row: Row, shots: Sequence[Row], id: str) -> Example:
        solved = [context.fill(shot) + table.separator + answers(shot)[0] for shot in shots]
        prompt = "".join(text + table.between for text in solved) + context.fill(row)
        ask = Write(prompt=prompt, max_tokens=table.max_tokens, stop=tuple(table.stop))
        return Example(id=id, ask=ask, category=category.fill(row), facts={"answers": answers(row)})

    return example


def _field(text: str) -> str:
    """The field that a template of one field names."""
    match = _ONE_FIELD.fullmatch(text)
    if match is None:
        raise EvaluateError(f"{text!r}: expected one field in braces and nothing else, such as {{answers}}")
    Template(text)
    return match["field"]


def _greedy(example: Example, answer: Answer) -> Verdict:
    return {"acc": float(answer.likelihoods[0].greedy)}, {}


def _is_an_answer(example: Example, answer: Answer) -> Verdict:
    found = _plain(answer.written[0].text)
    return {"exact_match": float(found in map(_plain, example.facts["answers"]))}, {"answer": found}


def _plain(text: str) -> str:
    """In lower case, without spaces and punctuation at the ends."""
    return text.strip().strip(".,;:!?\"'").strip().lower()
