"""The layouts of Project Gutenberg's files since 1991 around one book: every combination gives the book."""

import itertools

import pytest

from puna.data.readers.gutenberg_layout import MOST_CUT, split_book

TITLE = "A TALE OF FERRIES\n\nby A. Writer"
PARAGRAPHS = [
    f"It was the {n}th ferry of that year, and the men on the quay had\nnothing to say of it but that it was late."
    for n in range(12)
]
BODY = TITLE + "\n\n\nCHAPTER I\n\n" + "\n\n".join(PARAGRAPHS)
SHORT = TITLE + "\n\nThe ferry sinks,\n  the river stays."

OLD = """**The Project Gutenberg Etext of A Tale of Ferries, by A. Writer**
#1 in our series by A. Writer

Copyright laws are changing all over the world, be sure to check
the laws for your country before redistributing these files!!!

Please take a look at the important information in this header.
We encourage you to keep this file on your own disk.

The words are carefully chosen to provide users with the
information they need about what they can legally do with the texts.

**Welcome To The World of Free Plain Vanilla Electronic Texts**

*These Etexts Prepared By Hundreds of Volunteers and Donations*

A Tale of Ferries

by A. Writer

May, 1994 [Etext #4688]

*****This file should be named tale10.txt or tale10.zip*****
"""
SMALL = """***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***
Why is this "Small Print!" statement here? You know: lawyers.

*BEFORE!* YOU USE OR READ THIS ETEXT
By using it you indicate that you understand it.

{}
"""
END_OF_SMALL = [
    "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
    "*END THE SMALL PRINT! FOR PUBLIC DOMAIN EBOOKS*Ver.02/11/02*END*",
]
LATER = """The Project Gutenberg EBook of A Tale of Ferries, by A. Writer
(#1 in our series by A. Writer)

Copyright laws are changing all over the world. Be sure to check the
copyright laws for your country before downloading this eBook.

This header should be the first thing seen when viewing this Project
Gutenberg file.  Please do not remove it.

Please read the "legal small print," and other information about the
eBook and Project Gutenberg at the bottom of this file.

**eBooks Readable By Both Humans and By Computers, Since 1971**

Title: A Tale of Ferries

Author: A. Writer

Release Date: May, 2004 [EBook #5678]
[Yes, we are more than one year ahead of schedule]
[This file was first posted on May 1, 2002]

Edition: 10

Language: English

Character set encoding: ASCII

"""
NEW = """The Project Gutenberg eBook of A Tale of Ferries

This ebook is for the use of anyone anywhere in the United States.

Title: A Tale of Ferries

Release date: May 1, 2008 [eBook #1234]

Credits: Jane Maker and the Online Distributed Proofreading Team

"""
STARTS = [
    "*** START OF THE PROJECT GUTENBERG EBOOK A TALE ***",
    "***START OF THE PROJECT GUTENBERG EBOOK A TALE***",
    "*** START OF THIS PROJECT GUTENBERG EBOOK, A\nTALE OF FERRIES ***",
    "*** DÉBUT DU PROJET GUTENBERG EBOOK A TALE ***",
    "*** START OF THE PROJECT GUTENBERG EBOOK A*TALE ***",
    "START OF THE PROJECT GUTENBERG EBOOK A TALE",
]
HEADERS = {
    "old header without a mark": OLD,
    "old header, small print": f"{OLD}\n{SMALL.format(END_OF_SMALL[0])}",
    "old header, newer small print": f"{OLD}\n{SMALL.format(END_OF_SMALL[1])}",
    "old header, small print, its title again": f"{OLD}\n{SMALL.format(END_OF_SMALL[0])}\n\n"
    "The Project Gutenberg Etext of A Tale of Ferries, by A. Writer\n",
    "later header without a mark": LATER,
    **{f"later header, {start}": LATER + start for start in STARTS[:2]},
    **{f"new header, {start}": NEW + start for start in STARTS},
    "posted again": f"{NEW}{STARTS[2]}\n\n\n{OLD}\n{SMALL.format(END_OF_SMALL[0])}",
    "in German": "Project Gutenberg Etext von A Tale of Ferries\n\nTitle: A Tale\n\nMai, 2001 [Etext #77]\n",
}
CREDITS = [
    "",
    "This etext was produced by Volunteer One <person@example.org>",
    "Produced by Jane Maker, and the Online Distributed\nProofreading Team at https://www.pgdp.net",
    "E-text prepared by Jane Maker\n\n\nTranscriber's Note:\n\n      The spelling is old.\n\n      So are the names.",
    "[Illustration]\n\nTranscribed from the 1902 edition of Printer and\nSons by Jane Maker, email person@example.org",
    "+------------------+\n| Transcriber's Note |\n|                  |\n| As it was.       |\n+------------------+",
    "Dieser Etext wurde von Jane Maker erstellt.",
]
ENDS = {
    "end with stars": "*** END OF THE PROJECT GUTENBERG EBOOK A TALE ***",
    "both ends": "End of Project Gutenberg's A Tale of\nFerries, by A. Writer\n\n"
    "*** END OF THIS PROJECT GUTENBERG EBOOK A TALE ***",
    "end of the 1990s": "End of The Project Gutenberg Etext of A Tale of Ferries",
    "end in German": "Ende dieses Projekt Gutenberg Etextes A Tale",
    "end in French": "Fin du Projet Gutenberg de A Tale",
    "end in Spanish": "Fin del Proyecto Gutenberg A Tale",
    "end in brackets": "[End of the Project Gutenberg Etext of A Tale]",
}
LICENCES = {
    "nothing": "",
    "small print behind": "\nThis file should be named tale10.txt\n\nThis Etext was made by Jane Maker.\n\n"
    f"{SMALL.format(END_OF_SMALL[1])}",
    "full licence": "\nUpdated editions will replace the previous one.\n\n*** START: FULL LICENSE ***\n\n"
    "THE FULL PROJECT GUTENBERG LICENSE\nPLEASE READ THIS BEFORE YOU DISTRIBUTE OR USE THIS WORK\n\n"
    "1.A. By reading this electronic work you agree.\n\n1.E.1. Unless you have removed all references.\n",
}


def book(text: str) -> str:
    split = split_book(text)
    assert split.doubt == ""
    return split.book


def test_every_layout_around_a_book_gives_the_book() -> None:
    layouts = [*itertools.product(HEADERS.values(), CREDITS, ENDS.values(), LICENCES.values())]
    wrong = []
    for number, (before, credit, end, behind) in enumerate(layouts[::11]):  # 11 divides none of their numbers
        body = (BODY, SHORT)[number % 2]
        if book(text := f"{before}\n\n\n{credit}\n\n\n{body}\n\n\n{end}\n\n{behind}") != body:
            wrong.append(text)
    assert wrong == []


@pytest.mark.parametrize("before", [HEADERS["old header without a mark"], HEADERS["old header, small print"], LATER,
                                    NEW + STARTS[0]])  # fmt: skip
@pytest.mark.parametrize("last", ["", "\n\nEnd of this Project Gutenberg Etext of A Tale, v3, by A. Writer"])
def test_of_a_work_in_volumes_all_are_kept(before: str, last: str) -> None:
    volumes = [f"VOLUME {n}\n\n" + "\n\n".join(PARAGRAPHS) for n in (1, 2, 3)]
    end = "\n\nEnd of this Project Gutenberg Etext of A Tale, v{}, by A. Writer\n\n\n"
    text = f"{before}\n\n{volumes[0]}{end.format(1)}{volumes[1]}{end.format(2)}{volumes[2]}{last}"
    assert book(f"{text}\n\n{ENDS['end with stars']}\n\n{LICENCES['full licence']}") == "\n\n\n".join(volumes)


@pytest.mark.parametrize("between", [ENDS["both ends"], ENDS["end of the 1990s"]])
@pytest.mark.parametrize("licence", LICENCES.values())
@pytest.mark.parametrize("second", [HEADERS["old header, small print"], LATER + STARTS[0], NEW + STARTS[2]])
def test_of_several_files_in_one_every_book_is_kept_and_nothing_between_them(
    between: str, licence: str, second: str
) -> None:
    first = f"{NEW}{STARTS[0]}\n\n{BODY}\n\n{between}\n\n{licence}\n\n"
    assert book(f"{first}{second}\n\n{SHORT}\n\n{ENDS['both ends']}\n") == f"{BODY}\n\n\n{SHORT}"


BEHIND = SMALL.format(END_OF_SMALL[1])
ODD = {
    "a mark at the end of a line": f"{NEW}{STARTS[0]}\n\n{SHORT} {ENDS['end with stars']}\n\nProduced by Jane\n",
    "marks without an end": f"{NEW}{STARTS[0][:-4]}\n\nProduced by Jane\n\n{SHORT}\n\n"
    f"{ENDS['end with stars'][:-4]}\n\nx",
    "stars with spaces": f"{NEW}{STARTS[0]}\n\n{SHORT}\n\n{ENDS['end with stars']}\n\nx".replace("***", "* * *"),
    "small print behind, no end": f"{LATER}{STARTS[0]}\n\n{SHORT}\n\n{BEHIND}",
    "neither start nor end": f"{OLD}\n\n{SHORT}\n\n{BEHIND}",
    "small print before, no end": f"{OLD}\n\n{SMALL.format(END_OF_SMALL[0])}\n\n{SHORT}",
    "small print on both sides": f"{OLD}\n\n{SMALL.format(END_OF_SMALL[0])}\n\n{SHORT}\n\n{BEHIND}",
    "posted again, small print behind": f"{NEW}{STARTS[0]}\n\n{OLD}\n\n{SHORT}\n\n{ENDS['end of the 1990s']}\n\n"
    f"{BEHIND}\n\n{ENDS['end with stars']}\n{LICENCES['full licence']}",
    "no mark before the licence": f"{NEW}{STARTS[0]}\n\n{SHORT}\n\n{ENDS['end of the 1990s']}\n\nUpdated editions will "
    "replace the previous one.\n\nProduced by Jane\n\nCreating the works from public domain print editions.",
    "makers behind the end": f"{OLD}\n\n{SHORT}\n\n{ENDS['end of the 1990s']}\n\nThis etext was produced by Jane\n",
    "Australia": "Title: A Tale\n* A Project Gutenberg of Australia eBook *\neBook No.: 0100021.txt\n\nThis eBook was "
    f"produced by: Jane <j@example.org>\n\nTo contact go to http://gutenberg.net.au\n\n\n{SHORT}\n\n\n"
    "Project Gutenberg Australia\n",
}


@pytest.mark.parametrize("name", ODD)
def test_files_that_follow_no_layout_give_the_book(name: str) -> None:
    assert book(ODD[name]) == SHORT


@pytest.mark.parametrize("first", [NEW + STARTS[0], f"{OLD}\n\n{SMALL.format(END_OF_SMALL[0])}"])
@pytest.mark.parametrize("second", [LATER + STARTS[0], f"{OLD}\n\n{SMALL.format(END_OF_SMALL[0])}"])
def test_a_book_without_an_end_before_another_file_is_kept(first: str, second: str) -> None:
    long = "\n\n".join([BODY, *PARAGRAPHS, *PARAGRAPHS])
    text = f"{first}\n\n{long}\n\n{second}\n\n{SHORT}\n\n{ENDS['both ends']}"
    assert book(text) == f"{long}\n\n\n{SHORT}"


def test_lines_that_only_look_like_marks_stay() -> None:
    contents = "CONTENTS\n\n  THE FULL PROJECT GUTENBERG LICENSE\n\nTHE COMPLETE PROJECT GUTENBERG WORKS OF A. WRITER"
    prose = "And so came the\nend of the Project Gutenberg experiment, of which I had\nheard so much.\n\n" + BODY
    assert book(f"{NEW}{STARTS[0]}\n\n{prose}\n\n{ENDS['both ends']}") == prose
    found = book(f"{NEW}{STARTS[0]}\n\n{contents}\n\n{BODY}\n\n{ENDS['both ends']}")
    assert found == contents.replace("  THE FULL PROJECT GUTENBERG LICENSE\n", "") + "\n\n" + BODY


def test_an_end_in_the_list_of_contents_does_not_end_the_book() -> None:
    contents = "CONTENTS\n\nCHAPTER I"
    text = f"{NEW}{STARTS[0]}\n\n{contents}\n\nEnd of the Project Gutenberg EBook of A Tale\n\n{BODY}\n\n"
    assert book(f"{text}{ENDS['both ends']}") == f"{contents}\n\n\n{BODY}"


def test_the_notice_between_the_plays_goes_and_the_plays_stay() -> None:
    notice = ("<<THIS ELECTRONIC VERSION OF THE COMPLETE WORKS IS COPYRIGHT BY A LIBRARY, AND IS\n"
              "PROVIDED BY PROJECT GUTENBERG ETEXT OF A COLLEGE WITH PERMISSION.>>")  # fmt: skip
    text = f"{NEW}{STARTS[0]}\n\n{notice}\n\n{BODY}\n\n{notice}\n\n{SHORT}\n\n{ENDS['both ends']}"
    assert book(text) == f"{BODY}\n\n\n{SHORT}"


def test_a_book_about_the_project_is_not_its_header() -> None:
    body = "PROJECT GUTENBERG: A HISTORY\n\n" + "\n\n".join(
        f"In {year} Project Gutenberg had more ebooks, and its newsletter asked for donations." for year in range(90)
    )
    assert book(f"{NEW}{STARTS[0]}\n\n{body}\n\n{ENDS['both ends']}") == body


def test_a_file_of_canada_loses_its_frame() -> None:
    header = ("* A Project Gutenberg Canada Ebook *\n\nThis ebook is made available at no cost.\n\n"
              "Title: A Tale\n\nDate first posted: 1 May 2010\n\nThis ebook was produced by: Jane Maker\n")  # fmt: skip
    assert book(f"{header}\n\n{BODY}\n\n[End of _A Tale_, by A. Writer]\n") == BODY


def test_a_text_without_marks_stays_whole_whatever_words_it_has() -> None:
    text = f"Title: Donations to a newsletter\n\n{BODY}\n\nTranscriber's Note:\n\nMine."
    assert book(text) == text


def test_more_than_a_header_or_a_licence_has_is_doubted() -> None:
    long = "\n\n".join(PARAGRAPHS * (MOST_CUT // 1000))
    found = split_book(f"{NEW}{STARTS[0]}\n\n{BODY}\n\n{ENDS['end with stars']}\n\n{long}")
    assert "characters in one piece" in found.doubt
