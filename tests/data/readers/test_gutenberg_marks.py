import re

import pytest

from puna.data.readers.gutenberg_marks import HEADER_WORDS, known_end, marks

NOTHING = re.compile(r"(?!)")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("*** START OF THE PROJECT GUTENBERG EBOOK X ***", "start"),
        ("***START OF THIS PROJECT GUTENBERG EBOOK X***", "start"),
        ("  *** D\u00c9BUT DU PROJET GUTENBERG X ***", "start"),
        ("*** END OF THE PROJECT GUTENBERG EBOOK X ***", "end"),
        ("*** FIN DU PROJET GUTENBERG X ***", "end"),
        ("End of the Project\nGutenberg EBook of X", "soft"),
        ("Ende dieses Etextes", "soft"),
        ("Fine del Progetto Gutenberg X", "soft"),
        ("***START** SMALL PRINT! for X***\ntext\n***END** SMALL PRINT! for X***", "small"),
        ("***START**THE SMALL PRINT!**\ntext", "licence"),
        ("*** START: FULL LICENSE ***", "licence"),
        ("<<THIS ELECTRONIC VERSION\nOF X IS PROVIDED BY PROJECT GUTENBERG>>", "note"),
    ],
)
def test_each_mark_is_known_by_its_words(line: str, kind: str) -> None:
    text = f"Before.\n\n{line}\n\nBehind \u0130.\n" + "word " * 300
    (mark,) = [mark for mark in marks(text) if mark.kind != "file"]
    assert mark.kind == kind
    assert text[mark.begin : mark.end].strip().startswith(line[:10].strip())


@pytest.mark.parametrize(
    "line",
    [
        "He came to the end of the Project Gutenberg list.",
        "END OF PART ONE",
        "Start of the journey to Gutenberg",
        "End of Project Gutenberg was near,\nand it went on\nand on\nand on\nand on.",
    ],
)
def test_prose_is_not_a_mark(line: str) -> None:
    assert {mark.kind for mark in marks(f"Before.\n\n{line}\n\n" + "word " * 300)} == {"file"}


def test_a_header_ends_with_its_last_known_paragraph() -> None:
    text = "The Project Gutenberg Etext of X\n\nX\n\nby A\n\nMay, 1994 [Etext #1]\n\nX\n\nA\n\nB\n\nC\n\nD\n\nAn etext"
    assert text[known_end(text, 0, len(text), HEADER_WORDS, NOTHING) :].startswith("\nX\n\nA")
    assert known_end("One.\n\nTwo.", 0, 10, HEADER_WORDS, NOTHING) == 0


def test_many_words_of_marks_are_looked_at_once() -> None:
    assert len(marks("gutenberg " * 20_000)) == 2
    assert len(marks("<<gutenberg " * 2000)) == 2
