"""Tables of results as Markdown, as LaTeX and on a terminal."""

from collections.abc import Mapping, Sequence
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
_NAME = 12
"""Characters of a terminal's line that the names of rows have at least, where they are that long."""


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

    Where it is too narrow for all published columns, those nearest to our model in size stay, and a line names the
    others.
    """
    for table in tables:
        columns = _columns(table, console.width)
        console.print(_rich(table, columns))
        lines = [f"{number}  {note}" for number, note in enumerate(table.notes, 1)]
        if table.own:
            lines.append(f"our columns: {table.own}")
        if table.source:
            lines.append(f"other columns: {_sentence(table.source)}")
        if left_out := [name for place, name in enumerate(table.others, len(table.ours)) if place not in columns]:
            lines.append(f"no room for {', '.join(left_out)}; --against picks columns")
        for line in lines:
            console.print(escaped(line), markup=False, highlight=False, style="dim")
        console.print()
    console.print(_READING, markup=False, highlight=False, style="dim")


def _columns(table: ResultTable, width: int) -> dict[int, int]:
    """The columns that a terminal has room for: by their places the width of each; -1 is the names of rows.

    The published column that is nearest in size has room in any case: marks of notes go below our figures for it, and
    names are folded.
    """

    def widest(place: int, head: Sequence[str]) -> int:
        return max(map(len, [*head, *(_rich_cell(row.cells[place]).plain for row in table.rows)]))

    ours = range(len(table.ours))
    heads = [escaped(name) for name in (*table.ours, *table.others)]
    found = {-1: max((len(escaped(row.name)) for row in table.rows), default=0)}
    found |= {place: widest(place, heads[place].split()) for place in ours}
    for name in table.nearest:
        place = len(ours) + table.others.index(name)
        more = found | {place: widest(place, heads[place].split())}
        if len(found) > 1 + len(ours) and _whole(more) > width:
            break
        found = more
    for place in ours:
        least = max((len(row.cells[place].text + _spread(row.cells[place])) for row in table.rows), default=0)
        found[place] = max(min(found[place], least), found[place] - max(0, _whole(found) - width))
    found[-1] = max(min(found[-1], _NAME), found[-1] - max(0, _whole(found) - width))
    for place, name in enumerate(heads):
        # Names of models stand in one line where there is room for that.
        if place in found and _whole(found) + len(name) - found[place] <= width:
            found[place] = max(found[place], len(name))
    return dict(sorted(found.items()))


def _whole(columns: Mapping[int, int]) -> int:
    """The width of a table with these columns: three between two of them, one at each side."""
    return sum(columns.values()) + 3 * len(columns) - 1


def as_text(tables: Sequence[ResultTable]) -> str:
    """The tables as lines of text, wide enough for all columns."""
    from io import StringIO

    from rich.console import Console

    widest = max((len(table.ours) + len(table.others) for table in tables), default=0)
    text = StringIO()
    print_tables(tables, Console(file=text, width=80 + 24 * widest, color_system=None, highlight=False, emoji=False))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip("\n")


def _rich(table: ResultTable, columns: Mapping[int, int]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = Text(escaped(f"{table.title} ({_UNITS[table.unit]})"), style="bold")
    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    names = (*table.ours, *table.others)
    for place, width in columns.items():
        if place < 0:
            # Names of rows often differ at their ends alone.
            drawn.add_column("", overflow="fold", width=width)
        else:
            style = "cyan" if place < len(table.ours) else None
            drawn.add_column(Text(escaped(names[place])), justify="right", style=style, overflow="fold", width=width)
    for row in table.rows:
        drawn.add_row(*(Text(escaped(row.name)) if at < 0 else _rich_cell(row.cells[at]) for at in columns))
    return drawn


def _rich_cell(cell: TableCell) -> "Text":
    from rich.text import Text

    text = Text(cell.text, style="bold" if cell.best else "")
    text.append(_spread(cell), style="not bold dim")
    text.append("".join(f" [{number}]" for number in cell.notes), style="not bold dim")
    return text
