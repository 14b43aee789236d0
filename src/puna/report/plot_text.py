"""Curves as characters: a small plot for a terminal, in braille dots, or in letters where braille cannot be shown.

Each curve's name stands at the right of the row where it ends, so that curves can be told apart without colours.
"""

from dataclasses import dataclass

from rich.text import Text

from puna.core.units import format_count

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille character by row and column of its dots (Unicode, block "Braille Patterns")."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_LONGEST_NAME = 28


@dataclass(frozen=True)
class Curve:
    """A curve of the plot."""

    name: str
    style: str
    """Rich's name of its colour."""
    points: list[tuple[float, float]]


def plot(curves: list[Curve], *, width: int, height: int, across: str, braille: bool) -> list[Text]:
    """The plot as lines of text; none where no curve has a point.

    Args:
        curves: What to draw; a later one covers an earlier one.
        width: Characters of a line, names and labels included.
        height: Lines of the field of curves.
        across: What the horizontal axis counts.
        braille: Whether braille characters can be shown.
    """
    points = [point for curve in curves for point in curve.points]
    if not points:
        return []
    low, high = min(y for _, y in points), max(y for _, y in points)
    end = max(x for x, _ in points) or 1.0
    labels = [f"{high:.3f}", *[""] * (height - 2), f"{low:.3f}"]
    margin = max(map(len, labels))
    names = _names(curves, width // 3)
    columns = max(10, width - margin - 3 - max(map(len, names)))
    field = _Field(columns, height, braille)
    for number, curve in enumerate(curves):
        scaled = [
            (x / end * (field.wide - 1), (high - y) / ((high - low) or 1.0) * (field.tall - 1)) for x, y in curve.points
        ]
        field.draw(number, scaled)
    ends = _rows_of_names(curves, low, high, height)
    lines = []
    for row in range(height):
        line = Text(f"{labels[row]:>{margin}} ", style="dim")
        line.append("│" if braille else "|")
        for column in range(columns):
            shown, number = field.cell(row, column)
            line.append(shown, style=None if number is None else curves[number].style)
        if row in ends:
            line.append(f" {names[ends[row]]}", style=curves[ends[row]].style)
        line.rstrip()
        lines.append(line)
    foot = f"{across} {format_count(end)}"
    lines.append(Text(" " * (margin + 1) + ("└" if braille else "+") + "0" + foot.rjust(columns - 1), style="dim"))
    return lines


class _Field:
    """Cells of 2 x 4 dots, or of one letter, with the number of the curve that was drawn there last."""

    def __init__(self, columns: int, rows: int, braille: bool) -> None:
        self._across, self._down = (2, 4) if braille else (1, 1)
        self.wide, self.tall = columns * self._across, rows * self._down
        self._braille = braille
        self._cells: dict[tuple[int, int], tuple[int, int]] = {}

    def draw(self, number: int, points: list[tuple[float, float]]) -> None:
        """Draw a line through places in dots, counted from the upper left."""
        for (x, y), (next_x, next_y) in zip(points, points[1:] or points, strict=False):
            steps = max(1, round(max(abs(next_x - x), abs(next_y - y))))
            for step in range(steps + 1):
                part = step / steps
                self._dot(number, round(x + part * (next_x - x)), round(y + part * (next_y - y)))

    def _dot(self, number: int, x: int, y: int) -> None:
        place = (y // self._down, x // self._across)
        bits, _ = self._cells.get(place, (0, 0))
        self._cells[place] = (bits | _DOTS[y % self._down][x % self._across], number)

    def cell(self, row: int, column: int) -> tuple[str, int | None]:
        """The character of a cell, and the number of its curve."""
        if (row, column) not in self._cells:
            return " ", None
        bits, number = self._cells[row, column]
        return (chr(0x2800 + bits) if self._braille else _LETTERS[number % len(_LETTERS)]), number


def _names(curves: list[Curve], most: int) -> list[str]:
    """A letter and a name for each curve, cut in the middle where it is long; the name begins with the letter."""
    most = max(8, min(most, _LONGEST_NAME))
    short = [
        curve.name if len(curve.name) <= most else f"{curve.name[: most // 2 - 2]}...{curve.name[-(most // 2) :]}"
        for curve in curves
    ]
    return [f"{_LETTERS[number % len(_LETTERS)]} {name}" for number, name in enumerate(short)]


def _rows_of_names(curves: list[Curve], low: float, high: float, height: int) -> dict[int, int]:
    """The number of the curve whose name stands in a row: the nearest free one to its end, the lowest ends first."""
    rows: dict[int, int] = {}
    ending = [(curve.points[-1][1], number) for number, curve in enumerate(curves) if curve.points]
    for value, number in sorted(ending):
        wanted = round((high - value) / ((high - low) or 1.0) * (height - 1))
        free = [row for row in range(height) if row not in rows]
        if free:
            rows[min(free, key=lambda row: (abs(row - wanted), -row))] = number
    return rows
