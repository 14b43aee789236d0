"""The pager without a terminal: what keys do, and what the screen then shows."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from puna.cli.pager import _HELP, Pager, _lines_of_keys
from puna.data.document import Document, Dropped
from puna.data.inspect import Kept

KEPT = [Kept(Document("prose", f"kept-{n}", f"text of {n}\n" * 60, "shelf", licence="CC0"), "train") for n in range(3)]
DROPPED = [
    Dropped("prose", "gone-0", "duplicate", "prose/kept-0"),
    Dropped("prose", "gone-1", "empty"),
    Dropped("prose", "gone-2", "duplicate", "prose/kept-1", "\x1b[31mred\x1b[0m [bold]not bold[/bold] :smile:"),
]


@pytest.fixture
def pager() -> Pager:
    return make()


def make(**options: Any) -> Pager:
    documents: Any = SimpleNamespace(reasons={"duplicate": 2, "empty": 1}, keeps_text=False)
    return Pager(
        documents,
        lambda: iter(KEPT),
        lambda reason: (row for row in DROPPED if reason in (None, row.reason)),
        **options,
    )


def shown(pager: Pager, width: int = 120, height: int = 24) -> str:
    console = Console(
        width=width, height=height, file=io.StringIO(), highlight=False, markup=False, emoji=False, force_terminal=False
    )
    console.print(pager.draw(console))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert len(text.splitlines()) == height
    return text


def press(pager: Pager, keys: str) -> None:
    for key in keys:
        assert pager.press(key)


def test_kept_stands_left_and_dropped_right_with_its_reason_explained(pager: Pager):
    lines = shown(pager).splitlines()
    assert "kept 1: prose, train" in lines[0][:60]
    assert "dropped 1: prose" in lines[0][60:]
    assert "kept-0" in lines[1][:60]
    assert "gone-0" in lines[1][60:]
    assert "duplicate: Its text equals" in lines[2][60:]
    assert "q quit" in lines[-1]


def test_the_keys_are_all_shown_on_a_narrow_terminal_and_the_one_to_quit_on_a_low_one():
    for width in (40, 60, 70, 200):
        lines = _lines_of_keys(width, 24)
        assert "  ".join(lines) == "  ".join(_HELP)
        assert max(map(len, lines)) <= width
    assert [len(_lines_of_keys(width, 24)) for width in (60, 70, 80)] == [2, 2, 1]
    assert _lines_of_keys(40, 6) == ["n next  p previous  q quit"]
    assert _lines_of_keys(3, 3) == ["q quit"]


def test_next_and_previous_turn_both_columns_and_stop_at_the_ends(pager: Pager):
    press(pager, "n")
    assert "kept-1" in shown(pager)
    assert "gone-1" in shown(pager)
    press(pager, "nnnn")
    assert "kept-2" in shown(pager)
    assert "no more documents that way" in shown(pager)
    press(pager, "p")
    assert "kept-1" in shown(pager)
    assert "q quit" in shown(pager)
    press(pager, "ppp")
    assert "kept-0" in shown(pager)


def test_a_hidden_column_stays_where_it_is(pager: Pager):
    press(pager, "kn")
    text = shown(pager)
    assert "kept" not in text.splitlines()[0]
    assert "gone-1" in text
    press(pager, "k")
    assert "kept-0" in shown(pager)
    press(pager, "d")
    assert "gone" not in shown(pager)
    press(pager, "k")
    assert "gone-1" in shown(pager), "one column is always there"


def test_reasons_follow_each_other_and_begin_again_with_all(pager: Pager):
    titles = []
    for _ in range(3):
        press(pager, "r")
        titles.append(shown(pager).splitlines()[0])
    assert "dropped, duplicate 1" in titles[0]
    assert "dropped, empty 1" in titles[1]
    assert "dropped 1" in titles[2]
    press(pager, "rn")
    assert "gone-2" in shown(pager)


def test_a_reason_can_be_chosen_to_begin_with():
    pager = make(reason="empty", show_kept=False)
    assert "gone-1" in shown(pager)
    press(pager, "r")
    assert "dropped 1" in shown(pager)


def test_long_texts_are_scrolled_and_not_beyond_their_end(pager: Pager):
    before = shown(pager)
    press(pager, " ")
    assert shown(pager) != before
    press(pager, "b")
    assert shown(pager) == before
    press(pager, " " * 50)
    end = shown(pager)
    press(pager, "b")
    assert shown(pager) != end
    press(pager, "n")
    assert "text of 1" in shown(pager)


def test_arrows_are_keys_too(pager: Pager):
    press(pager, ["\x1b[C"])  # type: ignore[arg-type]
    assert "kept-1" in shown(pager)
    press(pager, ["\x1b[D", "\x1b[A"])  # type: ignore[arg-type]
    assert "kept-0" in shown(pager)


def test_q_and_the_end_of_the_input_quit_and_other_keys_do_nothing(pager: Pager):
    assert not pager.press("q")
    assert not pager.press("\x04")
    before = shown(pager)
    press(pager, "xyzQ\x1b\n")
    assert shown(pager) == before


def test_a_document_cannot_command_the_terminal_and_is_shown_as_it_is(pager: Pager):
    press(pager, "nn")
    text = shown(pager)
    assert "\x1b" not in text
    assert "[bold]not bold[/bold] :smile:" in text


def test_a_text_that_was_not_kept_is_missed_and_an_empty_column_says_so(pager: Pager):
    assert "data.keep_dropped" in shown(pager)
    documents: Any = SimpleNamespace(reasons={}, keeps_text=True)
    empty = Pager(documents, lambda: iter(()), lambda reason: iter(()))
    before = shown(empty)
    assert before.count("None.") == 2
    press(empty, "rkk ")
    assert shown(empty) == before
    press(empty, "n")
    assert "no more documents that way" in shown(empty)


@pytest.mark.parametrize(("width", "height"), [(40, 6), (80, 24), (400, 100)])
def test_any_size_of_a_terminal_is_filled_to_its_edges(pager: Pager, width: int, height: int):
    """Frames reach all four corners, every line is as wide as the terminal, and text fills what the frames leave."""
    lines = shown(pager, width, height).splitlines()
    assert [cell_len(line) for line in lines[:-1]] == [width] * (height - 1)
    corners = lines[0][0] + lines[0][-1] + lines[-2][0] + lines[-2][-1]
    assert corners == "╭╮╰╯"
    assert lines[-1].startswith("n next"[:width])
    kept = [line[1 : width // 2 - 1].strip() for line in lines[1:-2]]
    # Four lines say what it is; a page of 60 lines of text fills the rest.
    assert kept[4:] == ["text of 0"] * (len(kept) - 4) if height < 60 else kept[4:64] == ["text of 0"] * 60


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 3), (3, 1), (7, 4)])
def test_a_terminal_too_small_for_anything_is_filled_too_and_keys_still_work(pager: Pager, width: int, height: int):
    shown(pager, width, height)
    press(pager, "n bkdr")
    shown(pager, width, height)
    assert "kept 2" in shown(pager)
