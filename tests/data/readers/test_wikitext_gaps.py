import pytest

from puna.data.readers.wikitext_gaps import Gaps, mend, speech
from puna.data.readers.wikitext_marks import END, GAP, HOLE, SPOKEN


def mended(line, *, item=False):
    gaps = Gaps()
    text = mend(line.replace("@", GAP).replace("#", HOLE), gaps, item=item)
    return text.replace(HOLE, "#"), gaps.mended, gaps.sentences


@pytest.mark.parametrize(
    ("line", "item", "expected"),
    [
        ("@", False, "#"),
        ("@ .", False, "# ."),
        ("@Foo is a town.", False, "#Foo is a town."),
        ("@ Foo is.", False, "# Foo is."),
        ("One.@ Two.", False, "One.# Two."),
        ("One. @ Two.", False, "One. # Two."),
        ("One.@", False, "One.#"),
        ('"One." @', False, '"One." #'),
        ("One@, two@ and three@.", False, "One#, two# and three#."),
        ("a name @", True, "a name #"),
        ("The Joneses'@ house and 'this'@ one.", False, "The Joneses'# house and 'this'# one."),
        ("One.@@ Two.", False, "One.# Two."),
    ],
)
def test_markup_is_told_by_its_place(line, item, expected):
    assert mended(line, item=item) == (expected, 0, 0)


@pytest.mark.parametrize(
    ("line", "expected", "count"),
    [
        ("A (@, Lisbon) is.", "A (Lisbon) is.", 1),
        ("A (Moscow — @) is.", "A (Moscow) is.", 1),
        ("A (born @ in Rome; died 1950) is.", "A (died 1950) is.", 1),
        ("A (@; @) is.", "A # is.", 2),
        ("A (@) is.", "A # is.", 1),
        ("A (b (@) c) is.", "A (b # c) is.", 1),
    ],
)
def test_remarks_in_brackets_are_mended(line, expected, count):
    assert mended(line) == (expected, count, 0)


@pytest.mark.parametrize(
    ("line", "expected", "count"),
    [
        ("He was born @ in Rome.", "", 1),
        ("One is one. He was born @ in Rome. Two is two.", "One is one. Two is two.", 1),
        ("A 2@r is it. Then.", "Then.", 1),
        ("Costs of $@ rose. Then.", "Then.", 1),
        ("@ was a painter. Then.", "Then.", 1),
        ("He saw Dr. Smith at @ in May. Then.", "Then.", 1),
        ("Am 5. Mai kam @ hier an. Dann.", "Dann.", 1),
        ("The area is @.", "", 1),
        ("It is @, @ or so. Then @ came. End.", "End.", 2),
        ("f(@) is a function. Then.", "Then.", 1),
        ("Nato nell'@ a Roma. Poi.", "Poi.", 1),
        ("C\u2019est l\u2019@ et l'eau. Puis.", "Puis.", 1),
        ("open (@ bracket. Then.", "Then.", 1),
    ],
)
def test_sentences_that_lost_words_go_whole(line, expected, count):
    assert mended(line) == (expected, 0, count)


def test_an_item_that_ends_in_words_that_are_missing_goes():
    assert mended("the sum: @", item=True) == ("", 0, 1)


def test_the_bytes_that_went_out_of_brackets_are_counted():
    gaps = Gaps()
    mend(f"A ({GAP}, Köln) and ({GAP}) is.", gaps, item=False)
    assert gaps == Gaps(2, mended_bytes=len(", ") + len("()"))


def test_the_bytes_of_dropped_sentences_are_counted():
    gaps = Gaps()
    mend(f"Größe ist {GAP} hier. So.", gaps, item=False)
    assert gaps == Gaps(0, 1, len("Größe ist  hier.".encode()))


def test_how_words_are_spoken_goes_with_brackets_and_stays_in_sentences():
    ipa = f"{SPOKEN}[a(b)]{END}"
    assert speech(f"Foo ({ipa}; x) is") == f"Foo ({HOLE}; x) is"
    assert speech(f"the sound {ipa} is") == "the sound [a(b)] is"
    assert speech(ipa) == HOLE
