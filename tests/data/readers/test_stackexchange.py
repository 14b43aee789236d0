import bz2
import gzip
import pickle
import re
from pathlib import Path
from xml.sax.saxutils import quoteattr

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree, html

from puna.config.data import Source
from puna.core.errors import StorageError
from puna.data.document import EMPTY, TOO_LARGE, UNREADABLE, Document, Dropped, Raw
from puna.data.input_file import InputFile
from puna.data.readers.stackexchange import BROKEN, ORPHAN, OTHER, REASONS, StackExchangeReader, site_of

SOURCE = Source(path="x", include=["*"], format="stackexchange", heldout_fraction=0.1)


def reader(limit: int = 10**7) -> StackExchangeReader:
    return pickle.loads(pickle.dumps(StackExchangeReader("qa", SOURCE, limit)))


def question(identity, **fields):
    return row(Id=identity, PostTypeId=1, Score=0, Title=f"T{identity}", Body=f"<p>q{identity}</p>") | fields


def answer(identity, parent, score, **fields):
    return row(Id=identity, PostTypeId=2, ParentId=parent, Score=score, Body=f"<p>a{identity}</p>") | fields


def row(**fields):
    return {"CreationDate": "2014-05-14T08:11:02.157", "ContentLicense": "CC BY-SA 3.0"} | fields


def posts(*rows) -> bytes:
    lines = [
        one if isinstance(one, str) else "<row " + " ".join(f"{k}={quoteattr(str(v))}" for k, v in one.items()) + " />"
        for one in rows
    ]
    return "\n  ".join(['\ufeff<?xml version="1.0" encoding="utf-8"?>\n<posts>', *lines, "</posts>\n"]).encode()


@pytest.fixture
def read(tmp_path):
    def go(content: bytes, name: str = "cooking_Posts.xml", limit: int = 10**7):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return list(reader(limit).records(InputFile(str(path), name, len(content), "")))

    return go


def texts(records):
    return [reader().document(record).text for record in records if isinstance(record, Raw)]


def reasons(records):
    return [(record.id, record.reason) for record in records if isinstance(record, Dropped)]


def test_answers_are_sorted_by_score_as_numbers_and_older_ones_come_first_among_equals(read):
    scores = {5: "9", 6: "100", 7: "10", 8: "-3", 9: "10"}
    records = read(posts(*(answer(n, 1, score) for n, score in reversed(scores.items())), question(1)))
    assert texts(records) == ["Q: T1\n\nq1\n\nA: a6\n\nA: a7\n\nA: a9\n\nA: a5\n\nA: a8"]
    assert sorted(scores.values(), reverse=True) == ["9", "100", "10", "10", "-3"], "what sorting strings would give"


def test_a_document_says_where_it_comes_from(read):
    records = read(posts(question(1), answer(2, 1, 3, ContentLicense="CC BY-SA 4.0")))
    document = reader().document(records[0])
    assert document == Document(
        source="qa",
        id="cooking_Posts.xml#1",
        text="Q: T1\n\nq1\n\nA: a2",
        origin="cooking.stackexchange.com: question 1",
        url="https://cooking.stackexchange.com/questions/1",
        licence="CC-BY-SA-3.0, CC-BY-SA-4.0",
        date="2014-05-14T08:11:02.157",
    )


def test_questions_come_by_id_and_those_without_answers_stay(read):
    assert texts(read(posts(question(30), question(4), answer(5, 30, 1)))) == ["Q: T4\n\nq4", "Q: T30\n\nq30\n\nA: a5"]


def test_what_has_no_text_leaves_no_trace(read):
    records = read(posts(question(1), answer(2, 1, 5, Body="<p><img src='x'></p>"), answer(3, 1, 1)))
    assert texts(records) == ["Q: T1\n\nq1\n\nA: a3"]
    empty = read(posts(question(1, Title=" ", Body="<hr>")))
    assert reader().document(empty[0]) == Dropped("qa", "cooking_Posts.xml#1", EMPTY)


def test_every_row_that_is_not_a_post_of_a_thread_is_counted(read):
    records = read(
        posts(
            row(Id=50, PostTypeId=4, Score=0, Body="wiki"),
            question(1),
            answer(60, 99, 1),
            row(Id=61, Score=1, Body="x"),
            question("x"),
            question(2, Score="many"),
            question(3, Id=2**31),
            row(Id=62, PostTypeId=1, Score=1, Title="no body"),
            row(Id=63, PostTypeId=2, Score=1, Body="no parent"),
            '<row Id="5" PostTypeId="1" Score="1" Body="&bomb;" />',
            '<row Id="6" PostTypeId="1" Score="1 Body="quotes" />',
            question(1, Title="again"),
        )
    )
    file = "cooking_Posts.xml"
    assert reasons(records) == [
        (f"{file}#row-1", OTHER),
        *((f"{file}#row-{n}", BROKEN) for n in (4, 5, 6, 7, 8, 9, 10, 11)),
        (f"{file}#1@1", BROKEN),
        (f"{file}#60", ORPHAN),
    ]
    assert len(texts(records)) == 1
    assert {OTHER, BROKEN, ORPHAN} == REASONS.keys()


def test_the_join_on_the_disk_gives_what_the_join_in_memory_gives(read):
    rows = [question(n) for n in range(1, 40)] + [answer(100 + n, n % 40, n % 7) for n in range(300)]
    small = read(posts(*rows), limit=3_000)
    assert small == read(posts(*rows))
    assert len(small) == 39 + 8, "eight answers to question 0"


def test_a_row_and_a_thread_above_the_limit_are_dropped_alone(read):
    answers = [answer(n, 2, 0, Body="y" * 400) for n in range(3, 9)]
    records = read(posts(question(1, Body="x" * 70_000), question(2), *answers, question(10)), limit=2_000)
    file = "cooking_Posts.xml"
    assert reasons(records) == [(f"{file}#row-1", TOO_LARGE), (f"{file}#2", TOO_LARGE)]
    assert texts(records) == ["Q: T10\n\nq10"]


@pytest.mark.parametrize("cut", [2, 12, 60, 200, 320])
def test_a_truncated_file_gives_what_came_before_and_says_so(read, cut):
    whole = posts(question(1), question(2))
    records = read(whole[:-cut])
    assert reasons(records)[-1] == ("cooking_Posts.xml#end", UNREADABLE)
    assert len(texts(records)) == (2 if cut < 15 else 1 if cut < 200 else 0)


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-32-be", "utf-8-sig"])
def test_a_dump_is_read_in_the_encoding_that_it_tells_of(read, coding):
    whole = posts(question(1, Title="Größe"), answer(2, 1, 1)).decode("utf-8-sig")
    (thread,) = read(whole.encode(coding))
    assert reader().document(thread).text == "Q: Größe\n\nq1\n\nA: a2"
    (refused,) = read(b"<?xml version='1.0' encoding='x-y'?><posts></posts>")
    assert (refused.reason, refused.detail) == (UNREADABLE, "its encoding x-y is not known")


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "there is no <posts>"),
        (b"no xml", "there is no <posts>"),
        (b"<mediawiki><row/></mediawiki>", "its first element is <mediawiki>"),
    ],
)
def test_what_is_not_a_dump_is_unreadable(read, content, detail):
    (only,) = read(content)
    assert (only.reason, only.id) == (UNREADABLE, "cooking_Posts.xml#end")
    assert detail in only.detail
    assert "Posts.xml" in only.detail


def test_an_entity_bomb_does_not_go_off(read):
    bomb = '<!DOCTYPE posts [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
    content = posts(question(1), '<row Id="2" PostTypeId="1" Score="1" Body="&b;" />').replace(
        b"<posts>", bomb.encode() + b"<posts>"
    )
    records = read(content)
    assert texts(records) == ["Q: T1\n\nq1"]
    assert reasons(records) == [("cooking_Posts.xml#row-2", BROKEN)]


def test_compressed_dumps_are_read_and_broken_ones_as_far_as_they_go(read):
    content = posts(*(question(n, Body=str(n) * 500) for n in range(1, 900)))
    assert read(gzip.compress(content), "cooking_Posts.xml.gz")[0].content == read(content)[0].content
    assert len(read(bz2.compress(content), "a.bz2")) == 899
    broken = read(gzip.compress(content)[:-2000], "cooking_Posts.xml.gz")
    assert isinstance(broken[0], Dropped)
    assert broken[0].reason == UNREADABLE
    assert len(broken) > 300


def test_a_missing_file_is_unreadable():
    (only,) = reader().records(InputFile("/nowhere/Posts.xml", "Posts.xml", 1, ""))
    assert (only.id, only.reason) == ("Posts.xml", UNREADABLE)


def test_a_full_disk_is_not_a_fault_of_the_dump(tmp_path, full_disk):
    path = tmp_path / "cooking_Posts.xml"
    path.write_bytes(posts(*(question(n, Body="x" * 2000) for n in range(1, 99))))
    with pytest.raises(StorageError, match="no space left"), full_disk(100_000):
        list(reader(300_000).records(InputFile(str(path), path.name, 1, "")))


@given(
    st.binary()
    | st.lists(st.lists(st.text(), min_size=3, max_size=5), max_size=3).map(
        lambda rows: b"\n".join(map(orjson.dumps, rows))
    )
)
def test_no_bytes_make_a_document_raise(content):
    document = reader().document(Raw("x#1", content))
    if isinstance(document, Document):
        document.text.encode()
        assert document.text == document.text.rstrip()
        assert document.text
        assert "\r" not in document.text
        assert "\0" not in document.text


@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_bytes_make_the_records_raise(tmp_path_factory, noise, place):
    path = tmp_path_factory.getbasetemp() / "noise.xml"
    whole = posts(question(1), answer(2, 1, 3))
    path.write_bytes(whole[:place] + noise + whole[place:])
    for record in reader(500).records(InputFile(str(path), "noise.xml", 1, "")):
        assert isinstance(record, Raw | Dropped)


@pytest.mark.parametrize(
    ("name", "url", "site"),
    [
        ("datascience.meta_Posts.xml.gz", "/x", "datascience.meta.stackexchange.com"),
        ("cooking.stackexchange.com/Posts.xml", "/x", "cooking.stackexchange.com"),
        ("stackoverflow.com-Posts/Posts.xml.bz2", "/x", "stackoverflow.com"),
        ("stackoverflow-Posts.xml", "/x", "stackoverflow.com"),
        ("askubuntu/Posts.xml", "/x", "askubuntu.com"),
        ("meta.askubuntu_Posts.xml", "/x", "meta.askubuntu.com"),
        ("mathoverflow/Posts.xml", "/x", "mathoverflow.net"),
        ("ru.stackoverflow/Posts.xml", "/x", "ru.stackoverflow.com"),
        ("meta/Posts.xml", "/x", "meta.stackexchange.com"),
        ("Posts.xml", "/dumps/serverfault.com/Posts.xml", "serverfault.com"),
        ("Posts.xml", "/home/somebody/Posts.xml", ""),
        ("a b/Posts.xml", "/x", ""),
    ],
)
def test_the_site_is_told_by_the_names(name, url, site):
    assert site_of(InputFile(url, name, 1, "")) == site


def test_the_real_dump_gives_every_question_with_its_answers(real):
    path: Path = real("stackexchange/datascience.meta_Posts.xml.gz")
    records = list(reader().records(InputFile(str(path), path.name, path.stat().st_size, "")))
    rows = list(etree.fromstring(gzip.decompress(path.read_bytes()).removeprefix(b"\xef\xbb\xbf")))
    questions = {int(one.get("Id")): one for one in rows if one.get("PostTypeId") == "1"}
    answers: dict[int, list] = {}
    for one in rows:
        if one.get("PostTypeId") == "2":
            answers.setdefault(int(one.get("ParentId")), []).append(one)
    assert [record.reason for record in records if isinstance(record, Dropped)] == [OTHER] * 26
    documents = [reader().document(record) for record in records if isinstance(record, Raw)]
    assert [document.id for document in documents] == [f"{path.name}#{n}" for n in sorted(questions)]
    for document, number in zip(documents, sorted(questions), strict=True):
        wanted = sorted(answers.get(number, []), key=lambda one: (-int(one.get("Score")), int(one.get("Id"))))
        bodies = [
            html.fromstring(f"<div>{one.get('Body')}</div>").text_content() for one in [questions[number], *wanted]
        ]
        assert letters(document.text.replace("Q: ", "", 1)) == letters(
            questions[number].get("Title") + "A".join(b for b in bodies if b.strip())
        )
        assert not re.search(r"</?(p|a|li|code|em|strong)>", document.text)
        assert document.url == f"https://datascience.meta.stackexchange.com/questions/{number}"
        assert document.licence.startswith("CC-BY-SA-")


def letters(text: str) -> str:
    return "".join(character for character in text if character.isalpha())
