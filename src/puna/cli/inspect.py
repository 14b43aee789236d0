"""`puna data inspect`: kept and dropped documents of a build beside each other."""

import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from puna.cli.json_output import json_line
from puna.core.errors import DataError
from puna.core.layout import DataDir

if TYPE_CHECKING:
    from puna.data.document import Dropped
    from puna.data.inspect import Inspection, Kept

_SHOWN = 2000
"""How many characters of a document are printed as text."""


def inspect(
    data: Annotated[Path, typer.Argument(metavar="DATA_DIR", help="A data build such as data/demo.")],
    source: Annotated[str | None, typer.Option("--source", help="Only documents of this source.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Only documents dropped for this reason.")] = None,
    only: Annotated[
        bool | None, typer.Option("--kept/--dropped", help="Only kept documents, or only dropped ones.")
    ] = None,
    grep: Annotated[
        str | None, typer.Option("--grep", help="Only documents with this in their text, id or detail, in any case.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="How many of each, at random.  \\[default: all, in order]")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the sample.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines with whole texts.")] = False,
) -> None:
    """Page through kept and dropped documents beside each other; where stdout is not a terminal, print them.

    Keys: n next, p previous, space and b through a long text, k and d show or hide kept and dropped, r next reason,
    q quit.
    """
    from puna.data.inspect import Inspection

    documents = Inspection(DataDir(data), source, grep)
    if reason is not None:
        if only:
            raise DataError("--reason chooses among dropped documents, but --kept leaves them out")
        documents.check_reason(reason)
    chosen = _Chosen(documents, sample, seed)
    kept, dropped = only is not False, only is not True
    if sys.stdin.isatty() and sys.stdout.isatty() and not as_json:
        from puna.cli.pager import Pager

        Pager(documents, chosen.kept, chosen.dropped, show_kept=kept, show_dropped=dropped, reason=reason).run()
        return
    kept = kept and reason is None  # who asks for a reason asks for what was dropped
    rows = zip_longest(chosen.kept() if kept else (), chosen.dropped(reason) if dropped else ())
    for row in (one for pair in rows for one in pair if one is not None):
        if as_json:
            print(json_line(_fields(row)))
        else:
            print(_as_text(row, documents.keeps_text))


class _Chosen:
    """The documents to show: all of them, or a sample."""

    def __init__(self, documents: "Inspection", count: int | None, seed: int) -> None:
        self._documents, self._count, self._seed = documents, count, seed

    def kept(self) -> "Iterator[Kept]":
        return self._some(self._documents.kept())

    def dropped(self, reason: str | None) -> "Iterator[Dropped]":
        return self._some(self._documents.dropped(reason))

    def _some(self, rows: Iterator[Any]) -> Iterator[Any]:
        from puna.data.inspect import sample

        return rows if self._count is None else iter(sample(rows, self._count, self._seed))


def _fields(row: "Kept | Dropped") -> dict[str, Any]:
    from puna.data.document_files import document_fields, dropped_fields
    from puna.data.inspect import Kept
    from puna.data.reasons import explain

    if isinstance(row, Kept):
        return {"kept": True, "source": row.document.source, "split": row.split} | document_fields(row.document)
    meaning = {"explanation": explain(row.reason)}
    return {"kept": False, "source": row.source} | meaning | dropped_fields(row, with_text=True)


def _as_text(row: "Kept | Dropped", keeps_text: bool) -> str:
    from puna.data.inspect import Kept, about, missing_text, shown_text, without_controls

    if isinstance(row, Kept):
        title, text = f"kept: {row.document.source}/{row.document.id} ({row.split})", shown_text(row.document)
    else:
        title, text = f"dropped: {row.source}/{row.id}", row.text or missing_text(keeps_text)
    lines = "".join(f"{line}\n" for line in about(row))
    more = f"\n… {len(text) - _SHOWN:,} characters more" if len(text) > _SHOWN else ""
    return without_controls(f"=== {' '.join(title.split())}\n{lines}\n{text[:_SHOWN]}{more}\n")
