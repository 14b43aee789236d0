import gzip
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.config.data import Source
from puna.data.document import BINARY, EMPTY, Document, Dropped, Raw
from puna.data.input_file import InputFile
from puna.data.readers.gutenberg import COPYRIGHTED, NOT_TEXT, PUBLIC_DOMAIN, REASONS, UNSURE, GutenbergReader

SOURCE = Source(path="books", include=["*"], format="gutenberg", heldout_fraction=0.1)
NEW = """The Project Gutenberg eBook of A Tale

Title: A Tale

Author: A. Writer

Release Date: {date} [eBook #1234]

Language: {language}

Character set encoding: {encoding}

*** START OF {the} PROJECT GUTENBERG EBOOK A
TALE ***

Produced by Somebody and the Online Distributed
Proofreading Team

[Transcriber's Note: Spelling
is as it was.]




A TALE

Once upon a time
  there was é.

{end}

Updated editions will replace the previous one.
"""
BOOK = "A TALE\n\nOnce upon a time\n  there was é."
OLD = """**The Project Gutenberg Etext of A Tale, by A. Writer**

Please take a look at the important information in this header.

A Tale

by A. Writer

January, 1994  [Etext #99]

***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***
Why is this "Small Print!" statement here?
*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*

A TALE

Once upon a time

End of The Project Gutenberg Etext of A Tale
"""


def reader(limit: int = 10**7) -> GutenbergReader:
    return GutenbergReader("books", SOURCE, limit)


def book(content: str | bytes, encoding: str = "utf-8") -> Document | Dropped:
    return reader().document(Raw("tale.txt", content if isinstance(content, bytes) else content.encode(encoding)))


def new(
    the: str = "THE",
    end: str = "*** END OF THE PROJECT GUTENBERG EBOOK A TALE ***",
    date: str = "July 26, 2008",
    language: str = "English",
    encoding: str = "UTF-8",
) -> str:
    return NEW.format(the=the, end=end, date=date, language=language, encoding=encoding)


@pytest.mark.parametrize("the", ["THE", "THIS"])
@pytest.mark.parametrize(
    "end",
    [
        "*** END OF THE PROJECT GUTENBERG EBOOK A TALE ***",
        "***END OF THE PROJECT GUTENBERG EBOOK A TALE***",
        "End of Project Gutenberg's A Tale, by A. Writer\n\n*** END OF THIS PROJECT GUTENBERG EBOOK A TALE ***",
        "End of the Project Gutenberg EBook of A Tale",
        "Fin du Project Gutenberg A Tale",
        "Ende dieses Projekt Gutenberg Etextes",
        "*** START: FULL LICENSE ***",
    ],
)
def test_header_credits_and_licence_are_cut(the: str, end: str) -> None:
    verdict = book(new(the=the, end=end))
    assert isinstance(verdict, Document)
    assert verdict.text == BOOK


def test_the_small_print_of_old_files_is_cut() -> None:
    verdict = book(OLD)
    assert isinstance(verdict, Document)
    assert verdict.text == "A TALE\n\nOnce upon a time"
    assert (verdict.url, verdict.licence) == ("https://www.gutenberg.org/ebooks/99", PUBLIC_DOMAIN)


def test_the_small_print_at_the_end_is_cut() -> None:
    end = "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN EBOOKS**START***"
    verdict = book(new(end=end))
    assert isinstance(verdict, Document)
    assert verdict.text == BOOK


def test_the_header_tells_about_the_book() -> None:
    verdict = book(new())
    assert isinstance(verdict, Document)
    assert verdict.origin == "A Tale, A. Writer (tale.txt)"
    assert verdict.url == "https://www.gutenberg.org/ebooks/1234"
    assert (verdict.date, verdict.language, verdict.licence) == ("2008-07-26", "en", PUBLIC_DOMAIN)


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("June, 1997", "1997-06"),
        ("December 2003", "2003-12"),
        ("2021-02-03", "2021-02-03"),
        ("Sept. 5, 1999", "1999-09-05"),
        ("soon", ""),
    ],
)
def test_dates_are_as_exact_as_the_header(written: str, date: str) -> None:
    verdict = book(new(date=written))
    assert isinstance(verdict, Document)
    assert verdict.date == date


@pytest.mark.parametrize(
    ("written", "code"),
    [("French", "fr"), ("English and Latin", "en"), ("German, English", "de"), ("Old English", "en"), ("it", "it"),
     ("X", "")],
)  # fmt: skip
def test_the_first_language_counts(written: str, code: str) -> None:
    verdict = book(new(language=written))
    assert isinstance(verdict, Document)
    assert verdict.language == code


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [("ISO-8859-1", "latin-1"), ("UTF-8", "utf-8"), ("ASCII", "cp1252"), ("x-unknown", "cp1252"),
     ("ISO-8859-1", "utf-8"), ("ISO-8859-2", "iso8859-2"), ("UTF-8", "utf-16"), ("CP-1252", "cp1252"),
     ("rot13", "latin-1")],
)  # fmt: skip
def test_text_is_right_in_every_encoding(declared: str, encoding: str) -> None:
    verdict = book(new(encoding=declared), encoding)
    assert isinstance(verdict, Document)
    assert verdict.text == BOOK


def test_line_ends_become_newlines_and_lines_stay_as_long_as_they_are() -> None:
    verdict = book(new().replace("\n", "\r\n"))
    assert isinstance(verdict, Document)
    assert verdict.text == BOOK


def test_a_text_without_marks_stays_whole() -> None:
    text = "CHAPTER 1\n\nProduced by nobody.\n\nHe read about Gutenberg.\nEnd of story."
    verdict = book(f"\n\n{text}\n\n")
    assert isinstance(verdict, Document)
    assert (verdict.text, verdict.licence, verdict.url, verdict.date) == (text, "", "", "")


@pytest.mark.parametrize(
    "header",
    [
        "**This is a COPYRIGHTED Project Gutenberg Etext, Details Below**",
        "This is a COPYRIGHTED\nProject Gutenberg eBook.",
        "***START**THE SMALL PRINT!**FOR COPYRIGHT PROTECTED ETEXTS**START***",
    ],
)
def test_books_under_copyright_are_dropped(header: str) -> None:
    verdict = book(header + "\n\n" + new())
    assert isinstance(verdict, Dropped)
    assert (verdict.reason, verdict.detail) == (COPYRIGHTED, "A Tale")


def test_nothing_between_the_marks_is_empty() -> None:
    marks = "*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\n*** END OF THE PROJECT GUTENBERG EBOOK X ***\n"
    verdict = book(marks)
    assert isinstance(verdict, Dropped)
    assert verdict.reason == EMPTY
    assert getattr(book(b"a\0b"), "reason", "") == BINARY


def test_a_file_with_more_licence_than_there_is_has_a_reason_and_keeps_its_text() -> None:
    verdict = book(new() + "A word of the book.\n\n" * 5000)
    assert isinstance(verdict, Dropped)
    assert (verdict.reason, verdict.text) == (UNSURE, BOOK)
    assert "characters in one piece" in verdict.detail


def test_archives_hold_books_and_other_formats(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("1234-8.txt", new().encode())
        archive.writestr("1234-h/images/cover.jpg", b"\xff\xd8")
    path = tmp_path / "1234.zip"
    path.write_bytes(out.getvalue())
    there = pickle.loads(pickle.dumps(reader()))
    text, image = there.records(InputFile(str(path), "b/1234.zip", path.stat().st_size, ""))
    assert isinstance(text, Raw)
    assert text.id == "b/1234.zip#1234-8.txt"
    assert isinstance(image, Dropped)
    assert (image.id, image.reason) == ("b/1234.zip#1234-h/images/cover.jpg", NOT_TEXT)
    assert {COPYRIGHTED, NOT_TEXT, UNSURE} == set(REASONS)


@given(st.one_of(st.binary(), st.text().map(lambda text: new(end=text).encode("utf-8", "surrogatepass"))))
def test_any_bytes_give_a_verdict(content: bytes) -> None:
    verdict = book(content)
    if isinstance(verdict, Document):
        verdict.text.encode()
        assert verdict.text.strip()


def test_a_header_of_blank_lines_is_a_header() -> None:
    assert isinstance(book(b"The" + b"\n" * 39_000 + b"*** START OF THE PROJECT GUTENBERG EBOOK A ***\nText"), Document)


def test_the_real_dictionary_has_no_trace_of_its_publisher(real: Callable[[str], Path]) -> None:
    path = real("books/pg972_devils_dictionary.txt.gz")
    (raw,) = reader().records(InputFile(str(path), "pg972.txt.gz", path.stat().st_size, ""))
    assert isinstance(raw, Raw)
    verdict = reader().document(raw)
    assert isinstance(verdict, Document)
    assert verdict.id == "pg972.txt.gz"
    assert verdict.text.startswith("THE DEVIL'S DICTIONARY\n\nby Ambrose Bierce\n\n\n\n\nAUTHOR'S PREFACE")
    assert verdict.text.endswith("(_L'Histoire generale des animaux_ and _A History of Animated\nNature_) that the "
                                 "domestic cow sheds its horn every two years.")  # fmt: skip
    assert "gutenberg" not in verdict.text.lower()
    assert (verdict.date, verdict.language) == ("2008-07-26", "en")


def test_the_real_clean_novel_stays_whole(real: Callable[[str], Path]) -> None:
    path = real("books/moby_dick.txt.gz")
    (raw,) = reader().records(InputFile(str(path), "moby.txt.gz", path.stat().st_size, ""))
    assert isinstance(raw, Raw)
    verdict = reader().document(raw)
    assert isinstance(verdict, Document)
    assert verdict.text == gzip.decompress(path.read_bytes()).decode().strip()
    assert verdict.licence == ""
