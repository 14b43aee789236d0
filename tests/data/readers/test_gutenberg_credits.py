import pytest

from puna.data.readers.gutenberg_credits import without_credits

BOOK = "A TALE\n\nby A. Writer\n\n\n" + "\n\n".join(f"The ferry was late, for the {n}th time." for n in range(12))


@pytest.mark.parametrize(
    "note",
    [
        "Transcriber's Notes:\n\nPage 7: ferrry was ferry.\n\nPage 9: a stop was added.",
        "[Transcriber's Note: Two words were changed.]",
        "This etext was prepared by Jane Maker <jane@example.org>",
        "(This file was produced from images generously made available\nby the Internet Archive)",
    ],
)
def test_what_the_makers_say_behind_a_book_goes(note: str) -> None:
    assert without_credits(f"{BOOK}\n\n\n{note}\n") == BOOK


@pytest.mark.parametrize(
    "credit",
    [
        "Produced by Jane Maker",
        "Produit par Jane Maker",
        "Scanned and proofed by Jane Maker, jane@example.org",
        "Jane Maker <jane@example.org>",
        "Thanks to the Online Distributed Proofreading Team",
        "E-text prepared by Jane Maker\n\nNote: Project Gutenberg also has an HTML version of this\n"
        "      file which includes the original pictures.",
        "Transcribed from the 1888 Printer and Sons edition by Jane Maker, email\njane@example.org",
        "[Transcriber's Note: as it was.\n\nAll of it.]",
    ],
)
def test_what_the_makers_say_before_a_book_goes(credit: str) -> None:
    assert without_credits(f"{credit}\n\n\n{BOOK}") == BOOK


def test_behind_the_title_only_what_is_surely_not_the_books_own_goes() -> None:
    title, rest = BOOK.split("\n\n", 1)
    assert without_credits(f"{title}\n\nThis etext was produced by Jane Maker\n\n{rest}") == BOOK
    play = f"{title}\n\nProduced by Mr. Player at the Lyceum\n\n{rest}"
    assert without_credits(play) == play


def test_placeholders_of_pictures_go_and_captions_stay() -> None:
    book = "One.\n\n[Illustration]\n\nTwo.\n\n[Illustration: The ferry]\n\nThree [Illustration] is a word."
    assert without_credits(book) == book.replace("[Illustration]\n\n", "")


def test_notes_within_a_book_stay() -> None:
    book = f"{BOOK}\n\n[Transcriber's Note: Here a line is missing.]\n\n{BOOK}"
    assert without_credits(book) == book
