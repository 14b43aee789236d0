"""Tables of the papers as data: one TOML file for each source, a table in it for each table there.

Every figure is as it was printed, `"-"` where none was. Rows are what was measured and columns are models, whichever
of the two the source has as rows.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any, Literal

from puna.core.errors import EvaluateError

SOURCES = ("llama", "openllama", "openlm", "core")
"""The files beside this one, each with the tables of one source."""

DIGITS = {"percent": 1, "fraction": 2, "toxicity": 3, "centred": 4, "row": 0}
"""Decimals that the sources print, by the unit of a table; `row` where each row names its own."""


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """One table of a source."""

    name: str
    """The source and the table's number there, or what it is called: `llama/3`."""
    title: str
    source: str
    """Authors, year, title."""
    unit: str
    """What its figures are in, a key of `DIGITS`."""
    note: str
    """How the figures were measured, as far as the source says."""
    models: tuple[str, ...]
    """The columns, each with its size: `LLaMA 7B`."""
    rows: Mapping[str, tuple[float | None, ...]]
    """By what was measured, the figures of the models in their order; None where the source has none."""
    marks: Mapping[tuple[str, str], str]
    """What the source says of single figures, by row and model."""
    better: Literal["higher", "lower", "neither"]
    """Which of two figures is the better one; neither where that is not a matter of size."""

    def figure(self, row: str, model: str) -> float | None:
        """One figure as it was printed, in the table's unit; None where the source has none.

        Raises:
            KeyError: There is no such row or model.
        """
        figures = dict(zip(self.models, self.rows[row], strict=True))
        return figures[model]

    @property
    def number(self) -> str:
        """What the source calls it: `Table 3`, or its title where tables have no numbers."""
        within = self.name.partition("/")[2]
        return f"Table {within}" if within.isdecimal() else self.title


@cache
def published_tables() -> Mapping[str, PublishedTable]:
    """All tables by name, in the order of their sources."""
    found: dict[str, PublishedTable] = {}
    for source in SOURCES:
        text = (resources.files("puna.evaluate.published") / f"{source}.toml").read_text(encoding="utf-8")
        content = tomllib.loads(text)
        cited = content.pop("source")
        for number, table in content.items():
            found[f"{source}/{number}"] = _table(f"{source}/{number}", cited, table)
    return found


def _table(name: str, source: str, content: dict[str, Any]) -> PublishedTable:
    marks = {(row, model): mark["text"] for mark in content.get("marks", []) for row, model in mark["cells"]}
    rows = {
        row: tuple(None if figure == "-" else float(figure) for figure in figures)
        for row, figures in content["rows"].items()
    }
    return PublishedTable(
        name=name, title=content["title"], source=source, unit=content["unit"], note=content["note"],
        models=tuple(content["models"]), rows=rows, marks=marks,
        better=content.get("better", "higher"),
    )  # fmt: skip


def find_models(names: Sequence[str], tables: Iterable[PublishedTable]) -> tuple[str, ...]:
    """The models that a user names, as the tables write them; upper case, spaces and hyphens make no difference.

    Args:
        names: Such as `["llama-7b", "GPT-3 175B"]`.
        tables: Where the models are looked for; one that has a model's column is enough.

    Raises:
        EvaluateError: No table has one of them; models with a like name are suggested.
    """
    known = {_key(model): model for table in tables for model in table.models}
    found = []
    for name in names:
        if _key(name) not in known:
            close = get_close_matches(_key(name), known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(known[key] for key in close)}?" if close else _all(known.values())
            raise EvaluateError(f"--against: no table has results of {name!r}", hint=hint)
        found.append(known[_key(name)])
    return tuple(dict.fromkeys(found))


def _key(model: str) -> str:
    return "".join(model.casefold().replace("-", " ").split())


def _all(models: Iterable[str]) -> str:
    return f"there are {', '.join(dict.fromkeys(models))}"
