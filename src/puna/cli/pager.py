"""Kept documents on the left, dropped ones on the right, key by key, on a terminal."""

import contextlib
import os
import re
import select
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from puna.data.document import Dropped
from puna.data.inspect import Cursor, Inspection, Kept, about, missing_text, shown_text, without_controls

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN = 100_000
"""How many characters of a document are laid out; more would make each key slow."""
_RESIZED_S = 0.5
"""Seconds after which a terminal of a new size is drawn again."""
_KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)
_ARROWS = {"\x1b[C": "n", "\x1b[D": "p", "\x1b[B": " ", "\x1b[A": "b", "\x1b[6~": " ", "\x1b[5~": "b"}
_HELP = ("n next", "p previous", "space b scroll", "k kept", "d dropped", "r next reason", "q quit")


class Pager:
    """The state of the screen, and the effects of the keys.

    Args:
        documents: The build.
        kept: Reads kept documents from the first.
        dropped: Reads documents that were dropped for a reason, or for any, from the first.
        show_kept: Whether to show the left column.
        show_dropped: Whether to show the right column.
        reason: At the beginning, show only documents dropped for it.
    """

    def __init__(
        self,
        documents: Inspection,
        kept: Callable[[], Iterable[Kept]],
        dropped: Callable[[str | None], Iterable[Dropped]],
        *,
        show_kept: bool = True,
        show_dropped: bool = True,
        reason: str | None = None,
    ) -> None:
        self._documents, self._read_dropped = documents, dropped
        self._reasons = [None, *documents.reasons]
        self._reason = reason
        self._shown = {"kept": show_kept, "dropped": show_dropped}
        self._cursors: dict[str, Cursor[Any]] = {"kept": Cursor(kept), "dropped": Cursor(lambda: dropped(reason))}
        self._at = {"kept": 0, "dropped": 0}
        self._lines_down = self._longest = 0
        self._page = 10
        self._note = ""

    def run(self) -> None:
        """Show documents and handle keys until `q` or the end of the input; the terminal is always restored."""
        console = Console(highlight=False, markup=False, emoji=False)
        with _keys(sys.stdin.fileno()) as read, console.screen(hide_cursor=True) as screen:
            while True:
                size = console.size
                screen.update(self.draw(console))
                while (keys := read(_RESIZED_S)) == "" and console.size == size:
                    pass
                if keys is None or not all(self.press(key) for key in _KEY.findall(keys)):
                    return

    def press(self, key: str) -> bool:
        """Handle a key; returns false if it is the one to quit."""
        self._note = ""
        match _ARROWS.get(key, key):
            case "q" | "\x04":
                return False
            case "n":
                self._turn(1)
            case "p":
                self._turn(-1)
            case " ":
                self._lines_down = min(self._lines_down + self._page, self._longest)
            case "b":
                self._lines_down = max(0, self._lines_down - self._page)
            case "k":
                self._toggle("kept", "dropped")
            case "d":
                self._toggle("dropped", "kept")
            case "r":
                self._next_reason()
        return True

    def _turn(self, by: int) -> None:
        moved = False
        for column, shown in self._shown.items():
            to = self._at[column] + by
            if shown and to >= 0 and self._cursors[column].get(to) is not None:
                self._at[column] = to
                moved = True
        self._lines_down = 0
        self._note = "" if moved else "no more documents that way"

    def _toggle(self, column: str, other: str) -> None:
        self._shown[column] = not self._shown[column]
        if not self._shown[column]:
            self._shown[other] = True

    def _next_reason(self) -> None:
        reason = self._reasons[(self._reasons.index(self._reason) + 1) % len(self._reasons)]
        self._reason, self._at["dropped"], self._lines_down = reason, 0, 0
        self._cursors["dropped"] = Cursor(lambda: self._read_dropped(reason))

    def draw(self, console: Console) -> "RenderableType":
        """The screen as it is now."""
        width, height = console.size
        columns = [column for column, shown in self._shown.items() if shown]
        inner = max(10, width // len(columns) - 4)
        keys = _lines_of_keys(width, height)
        self._page = max(1, height - 3 - len(keys))
        self._longest = 0
        panels = []
        for column in columns:
            row = self._cursors[column].get(self._at[column])
            panels.append(Panel(self._column(console, row, inner), title=self._title(column, row)))
        body = Layout()
        body.split_row(*(Layout(panel) for panel in panels))
        screen = Layout()
        screen.split_column(Layout(body), _below(self._note, keys))
        return screen

    def _title(self, column: str, row: Kept | Dropped | None) -> Text:
        chosen = f", {self._reason}" if column == "dropped" and self._reason else ""
        where = ""
        if isinstance(row, Kept):
            where = f": {row.document.source}, {row.split}"
        elif row is not None:
            where = f": {row.source}"
        return Text(without_controls(f"{column}{chosen} {self._at[column] + 1 if row else ''}{where}"))

    def _column(self, console: Console, row: Kept | Dropped | None, width: int) -> "RenderableType":
        if row is None:
            return Text("None.", style="dim")
        kept = isinstance(row, Kept)
        identity, text = (row.document.id, shown_text(row.document)) if kept else (row.id, row.text)
        head = Text(without_controls(" ".join(identity.split())) + "\n", style="bold")
        head.append(without_controls("\n".join(about(row))) + "\n", style="not bold " + ("dim" if kept else "yellow"))
        shown = Text(without_controls(text[:_SHOWN]) or missing_text(self._documents.keeps_text))
        if len(text) > _SHOWN:
            shown.append(f"\n… {len(text) - _SHOWN:,} characters more; --json prints them", style="dim")
        lines = shown.wrap(console, width, overflow="fold", tab_size=4)
        last = max(0, len(lines) - 1)
        self._longest = max(self._longest, last)
        first = min(self._lines_down, last)
        return Group(head, Text("\n").join(lines[first : first + self._page]))


def _lines_of_keys(width: int, height: int) -> list[str]:
    """The keys with what they do, in a sixth of the terminal's lines at most; the one to quit is always among them."""
    keys = [*_HELP]
    while len(lines := _joined(keys, width)) > max(1, height // 6) and len(keys) > 1:
        del keys[-2]
    return lines


def _joined(keys: list[str], width: int) -> list[str]:
    lines = [keys[0]]
    for key in keys[1:]:
        if len(longer := f"{lines[-1]}  {key}") <= width:
            lines[-1] = longer
        else:
            lines.append(key)
    return lines


def _below(note: str, keys: list[str]) -> Layout:
    """What stands below the columns: the keys, or a note in their place."""
    return Layout(Text(note or "\n".join(keys), style="dim", no_wrap=True), size=len(keys))


@contextlib.contextmanager
def _keys(terminal: int) -> Iterator[Callable[[float], str | None]]:
    """Yields a function that reads a key: "" if none comes within some seconds, None at the end of the input."""
    import termios
    import tty

    def read(seconds: float) -> str | None:
        if not select.select([terminal], [], [], seconds)[0]:
            return ""
        return os.read(terminal, 64).decode(errors="replace") or None

    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        yield read
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
