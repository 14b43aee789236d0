"""CCNet's line hashes and the removal of lines, against cc_net's definition spelled out slowly."""

import hashlib
import unicodedata
from pathlib import Path

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from puna.data.document import Document, Dropped
from puna.data.rules.lines import BLANK, PUNCTUATION, REASONS, line_hashes, remove_lines, too_short

PAGE = "Home\nThe first line.\nContact us!\n\nThe second line, 12 of 30."


def normalised(line: str) -> str:
    line = "".join("0" if unicodedata.category(c) == "Nd" else c for c in line.strip().lower())
    return "".join(c for c in line if c not in PUNCTUATION and not (ord(c) < 32 or 127 <= ord(c) < 160))


def sha1(line: str) -> int:
    return int.from_bytes(hashlib.sha1(line.encode()).digest()[:8], "little")


def page(text: str) -> Document:
    return Document("web", "1", text, "")


def duplicated(*lines: str) -> np.ndarray:
    return np.array(sorted(sha1(line) for line in lines), dtype=np.uint64)


def test_the_punctuation_is_cc_nets():
    assert sorted(PUNCTUATION) == sorted(
        "，。、„”“«»１」「《》´∶：？！（）；–—．～’…━〈〉【】％►"  # noqa: RUF001 (as they stand in text_normalizer.py)
    )


def test_the_example_of_cc_nets_own_test_has_the_hash_of_what_it_expects():
    weird = "\uff10\uff12\uff13\u00b4\u2236\uff1a\x10 | ;012 hèllo"
    assert line_hashes(weird).tolist() == [sha1("000 | ;000 hèllo")]


@settings(max_examples=300)
@given(
    st.text(
        st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\n\n \t\u03a3A\u03c31\u0663İ»\x85\x1c"))
    )
)
@example("A\u03a3\n\u03a3A\n\n A\u00ad\u03a3 \u0345\n")
@example("» x «\n\x1f\t A1\x00")
def test_hashes_are_those_of_the_definition_for_every_line(text: str):
    assert line_hashes(text).tolist() == [sha1(normalised(line)) for line in text.split("\n")]


def test_hashes_never_change():
    assert [f"{value:016x}" for value in line_hashes("Hello, World 42\n\nÇa — va?").tolist()] == GOLDEN


GOLDEN = ["908e0b9ded96bbbc", "0d4b6b5eeea339da", "d70efb57961277b1"]


def test_lines_of_other_documents_are_removed_and_the_rest_stays_as_it_was():
    found = remove_lines(page(PAGE), duplicated("home", "contact us!"), 0)
    assert isinstance(found, Document)
    assert found.text == "The first line.\nThe second line, 12 of 30."


def test_of_a_line_that_stands_several_times_in_one_document_the_first_stays():
    found = remove_lines(page("One\ntwo\none\nTWO\nthree"), duplicated(), 0)
    assert isinstance(found, Document)
    assert found.text == "One\ntwo\nthree"


def test_a_document_without_such_lines_is_the_same_one():
    document = page("One\ntwo")
    assert remove_lines(document, duplicated("three", "0"), 0) is document


def test_a_document_is_dropped_if_it_is_or_becomes_too_short():
    assert too_short(page("x" * 300), 300) is None
    assert too_short(page("x" * 299), 300) == Dropped(
        "web", "1", "lines.too_short", "299 characters, at least 300", "x" * 299
    )
    assert remove_lines(page("ab"), duplicated(), 3) == too_short(page("ab"), 3)
    text = "Home\n" + "x" * 10
    detail = "10 characters, at least 11, 1 of 2 lines removed"
    assert remove_lines(page(text), duplicated("home"), 11) == Dropped("web", "1", "lines.too_short", detail, text)
    assert isinstance(remove_lines(page(text), duplicated("home"), 10), Document)
    assert set(REASONS) == {"lines.too_short"}


def test_a_document_of_which_no_line_is_left_is_dropped_whatever_the_threshold():
    found = remove_lines(page("Home\n\n —"), duplicated("home"), 0)
    assert isinstance(found, Dropped)
    assert found.detail == "0 characters, at least 1, 3 of 3 lines removed"


def test_blank_lines_have_one_hash():
    assert set(line_hashes("\n \n—\n\x07").tolist()) == {BLANK}


@given(
    st.lists(st.sampled_from(["a", "B ", "c1", "", "d—", "É"]), min_size=1),
    st.sets(st.sampled_from(["a", "b", "c0", "d"])),
)
def test_what_is_left_is_what_cc_net_leaves(lines: list[str], elsewhere: set[str]):
    expected, seen = [], {""} | elsewhere
    for line in lines:
        if normalised(line) not in seen:
            expected.append(line)
        seen.add(normalised(line))
    found = remove_lines(page("\n".join(lines)), duplicated(*elsewhere), 0)
    assert (found.text if isinstance(found, Document) else "") == "\n".join(expected).strip()


def test_the_pages_of_cc_nets_test_file_share_no_line_that_is_not_blank(real):
    content = Path(real("common_crawl/ccnet_sample.wet.txt")).read_bytes().decode().replace("\r\n", "\n")
    pages = [part.split("\n\n", 1)[1].strip() for part in content.split("WARC/1.0") if "conversion" in part]
    assert len(pages) > 2
    for text in pages:
        assert line_hashes(text).tolist() == [sha1(normalised(line)) for line in text.split("\n")]
