"""Tables of results as Markdown, as LaTeX and on a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from puna.core.errors import escaped
from puna.evaluate.tables import ResultTable, TableCell

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_UNITS = {
    "percent": "percent", "fraction": "fractions of 1", "toxicity": "from 0 to 1",
    "centred": "0 is chance, 1 is all right", "metric": "as each metric has it",
}  # fmt: skip
"""By `ResultTable.unit`."""
_READING = (
    "± is half of the 95 % interval by Student's t, then the number of documents. Bold is better than every published "
    "figure of the row by more than that."
)
_LATEX = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "<": r"\textless{}", ">": r"\textgreater{}",
    }
)  # fmt: skip
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>|#"})
_NARROWEST = 9
"""Columns of a terminal that a published model takes with its borders."""


def markdown(tables: Sequence[ResultTable]) -> str:
    """The tables as GitHub's Markdown, each under a heading of its own."""
    return "\n".join(_markdown(table) for table in tables) + f"\n{_READING}\n"


def _markdown(table: ResultTable) -> str:
    heads = ["", *table.ours, *table.others]
    lines = [f"## {_in_markdown(table.title)}", "", f"Figures: {_UNITS[table.unit]}.", ""]
    lines.append("| " + " | ".join(map(_in_markdown, heads)) + " |")
    lines.append("|" + "---|" + "---:|" * (len(heads) - 1))
    rows = ([_in_markdown(row.name), *map(_markdown_cell, row.cells)] for row in table.rows)
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines.append("")
    lines += [f"{number}. {_in_markdown(note)}" for number, note in enumerate(table.notes, 1)]
    if table.notes:
        lines.append("")
    if table.own:
        lines += [f"Our columns: {_in_markdown(table.own)}", ""]
    if table.source:
        lines += [f"Other columns: {_in_markdown(_sentence(table.source))} {_in_markdown(table.note)}", ""]
    return "\n".join(lines)


def _markdown_cell(cell: TableCell) -> str:
    text = f"**{cell.text}**" if cell.best else cell.text
    marks = "".join(f"<sup>{number}</sup>" for number in cell.notes)
    return text + _spread(cell) + marks


def _in_markdown(text: str) -> str:
    """Text from outside, such as a model's name, that can neither end the cell nor become markup."""
    return " ".join(escaped(text).split()).translate(_MARKDOWN)


def latex(tables: Sequence[ResultTable]) -> str:
    """The tables as LaTeX with the package booktabs, one `table` each."""
    head = "% \\usepackage{booktabs}\n% " + _READING.replace(" %", "\\%") + "\n"
    return head + "\n".join(_latex(table) for table in tables)


def _latex(table: ResultTable) -> str:
    heads = ["", *table.ours, *table.others]
    lines = [
        r"\begin{table}", r"\centering", rf"\caption{{{_in_latex(table.title)}, {_in_latex(_UNITS[table.unit])}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}", r"\toprule",
        " & ".join(map(_in_latex, heads)) + r" \\", r"\midrule",
    ]  # fmt: skip
    lines += [" & ".join([_in_latex(row.name), *map(_latex_cell, row.cells)]) + r" \\" for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize $^{{{number}}}$ {_in_latex(note)}" for number, note in enumerate(table.notes, 1)]
    if table.own:
        lines.append(rf"\par\footnotesize Our columns: {_in_latex(table.own)}")
    if table.source:
        lines.append(rf"\par\footnotesize Other columns: {_in_latex(_sentence(table.source))} {_in_latex(table.note)}")
    return "\n".join([*lines, r"\end{table}", ""])


def _latex_cell(cell: TableCell) -> str:
    text = rf"\textbf{{{cell.text}}}" if cell.best else _in_latex(cell.text)
    marks = "".join(f"$^{{{number}}}$" for number in cell.notes)
    return text + _spread(cell).replace("±", r"$\pm$") + marks


def _in_latex(text: str) -> str:
    return " ".join(escaped(text).split()).translate(_LATEX)


def _spread(cell: TableCell) -> str:
    half = f" ± {cell.half}" if cell.half else ""
    return half + (f" ({cell.n:,})" if cell.n is not None else "")


def _sentence(text: str) -> str:
    return text if text.endswith(".") else text + "."


def print_tables(tables: Sequence[ResultTable], console: "Console") -> None:
    """Print the tables on a terminal.

    Published columns that its width has no room for are left out from the left, and a line says which.
    """
    for table in tables:
        room = max(0, (console.width - 30 - 24 * len(table.ours)) // _NARROWEST)
        left_out = table.others[: max(0, len(table.others) - room)]
        console.print(_rich(table, len(left_out)))
        lines = [f"{number}  {note}" for number, note in enumerate(table.notes, 1)]
        if table.own:
            lines.append(f"our columns: {table.own}")
        if table.source:
            lines.append(f"other columns: {_sentence(table.source)}")
        if left_out:
            lines.append(f"no room for {', '.join(left_out)}; --against picks columns")
        for line in lines:
            console.print(escaped(line), markup=False, highlight=False, style="dim")
        console.print()
    console.print(_READING, markup=False, highlight=False, style="dim")


def as_text(tables: Sequence[ResultTable]) -> str:
    """The tables as lines of text, wide enough for all columns."""
    from io import StringIO

    from rich.console import Console

    widest = max((len(table.ours) + len(table.others) for table in tables), default=0)
    text = StringIO()
    print_tables(tables, Console(file=text, width=80 + 24 * widest, color_system=None, highlight=False, emoji=False))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip("\n")


def _rich(table: ResultTable, left_out: int) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = Text(escaped(f"{table.title} ({_UNITS[table.unit]})"), style="bold")
    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("")
    for name in table.ours:
        drawn.add_column(Text(escaped(name)), justify="right", style="cyan", no_wrap=True)
    for name in table.others[left_out:]:
        drawn.add_column(Text(escaped(name)), justify="right")
    ours = len(table.ours)
    for row in table.rows:
        cells = (*row.cells[:ours], *row.cells[ours + left_out :])
        drawn.add_row(Text(escaped(row.name)), *map(_rich_cell, cells))
    return drawn


def _rich_cell(cell: TableCell) -> "Text":
    from rich.text import Text

    text = Text(cell.text, style="bold" if cell.best else "")
    text.append(_spread(cell), style="not bold dim")
    text.append("".join(f" [{number}]" for number in cell.notes), style="not bold dim")
    return text
