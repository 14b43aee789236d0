import bz2
import pickle
import re
from xml.sax.saxutils import escape

import mwparserfromhell
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from puna.config.data import Source
from puna.data.document import EMPTY, TOO_LARGE, UNREADABLE, Document, Dropped, Lost, Raw
from puna.data.input_file import InputFile
from puna.data.readers.wikipedia import HOLE, MODEL, NAMESPACE, REASONS, REDIRECT, SENTENCE, WikipediaReader

SOURCE = Source(path="x", include=["*"], format="wikipedia", heldout_fraction=0.1)
HEADER = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" version="0.10" xml:lang="de">
  <siteinfo><sitename>Wikipedia</sitename><dbname>dewiki</dbname>
    <base>https://de.wikipedia.org/wiki/Wikipedia:Hauptseite</base>
    <namespaces><namespace key="6" case="first-letter">Datei</namespace></namespaces>
  </siteinfo>"""


def reader(limit: int = 10**7) -> WikipediaReader:
    return pickle.loads(pickle.dumps(WikipediaReader("wiki", SOURCE, limit)))


def page(identity, text="Some text.", *, title=None, ns=0, inside="", model="wikitext", date="2022-06-20T01:02:03Z"):
    return f"""  <page><title>{escape(title or f"Page {identity}")}</title><ns>{ns}</ns><id>{identity}</id>{inside}
    <revision><id>9{identity}</id><timestamp>{date}</timestamp><model>{model}</model>
    <text bytes="3" xml:space="preserve">{escape(text)}</text></revision></page>"""


def dump(*pages, end="\n</mediawiki>\n") -> bytes:
    return "\n".join([HEADER, *pages, end]).encode()


@pytest.fixture
def read(tmp_path):
    def go(content: bytes, limit: int = 10**7):
        path = tmp_path / "dewiki.xml"
        path.write_bytes(content)
        return list(reader(limit).records(InputFile(str(path), path.name, len(content), "")))

    return go


def reasons(records):
    return [(record.id.partition("#")[2], record.reason) for record in records if isinstance(record, Dropped)]


def ids(records):
    return [record.id.partition("#")[2] for record in records if isinstance(record, Raw)]


def test_a_document_says_where_it_comes_from(read):
    (raw,) = read(dump(page(7, "Ein '''[[Wort]]''' & mehr.[[Datei:x.jpg|y]]", title="Größe (A/B) & C")))
    assert reader().document(raw) == Document(
        source="wiki",
        id="dewiki.xml#7",
        text="Größe (A/B) & C\n\nEin Wort & mehr.",
        origin="dewiki: Größe (A/B) & C, revision 97",
        url="https://de.wikipedia.org/wiki/Gr%C3%B6%C3%9Fe_(A/B)_%26_C",
        licence="CC-BY-SA-3.0",
        date="2022-06-20T01:02:03Z",
        language="de",
    )


def test_the_licence_follows_the_date_of_the_revision(read):
    days = ["2023-06-06T23:59:59Z", "2023-06-07T00:00:00Z"]
    documents = [reader().document(raw) for raw in read(dump(*(page(n, date=day) for n, day in enumerate(days))))]
    assert [document.licence for document in documents] == ["CC-BY-SA-3.0", "CC-BY-SA-4.0"]


def test_what_is_not_an_article_is_counted(read):
    records = read(
        dump(
            page(1, inside='<redirect title="X" />'),
            page(2, ns=10),
            page(3),
            page(4, model="javascript"),
            page(5, "{{authority control}}"),
            page(6, "#ПЕРЕНАПРАВЛЕНИЕ: [[X]]"),
        )
    )
    assert reasons(records) == [("1", REDIRECT), ("2", NAMESPACE)]
    assert ids(records) == ["3", "4", "5", "6"]
    verdicts = [reader().document(raw) for raw in records if isinstance(raw, Raw)]
    assert [getattr(verdict, "reason", "") for verdict in verdicts] == ["", MODEL, EMPTY, REDIRECT]
    assert {REDIRECT, NAMESPACE, MODEL, HOLE, SENTENCE} == REASONS.keys()


def test_what_unknown_templates_cost_is_told(read):
    text = "Er ist da ({{xy}}, Bonn). Das sind {{xyz|5}} Größen. Ende."
    document = reader().document(read(dump(page(1, text)))[0])
    assert document.text == "Page 1\n\nEr ist da (Bonn). Ende."
    assert document.lost == (Lost(HOLE, 1, len(", ")), Lost(SENTENCE, 1, len("Das sind  Größen.".encode())))


def test_of_a_history_the_last_revision_counts(read):
    older = "<revision><id>1</id><timestamp>2001-01-01T00:00:00Z</timestamp><text>Old.</text></revision>"
    (raw,) = read(dump(page(1, "New.", inside=older)))
    assert reader().document(raw).text == "Page 1\n\nNew."


def test_a_broken_page_costs_no_other(read):
    broken = page(2).replace("</title>", "</name>")
    records = read(dump(page(1), broken, page(3).replace("<ns>0</ns>", ""), page(4)))
    assert ids(records) == ["1", "2", "4"]
    assert reasons(records) == [("page-3", UNREADABLE)]
    verdicts = [reader().document(raw) for raw in records if isinstance(raw, Raw)]
    assert [getattr(verdict, "reason", "") for verdict in verdicts] == ["", UNREADABLE, ""]


def test_a_page_above_the_limit_is_dropped_alone(read):
    records = read(dump(page(1), page(2, "x" * 300_000), page(3)), limit=1_000)
    assert ids(records) == ["1", "3"]
    ((identity, reason),) = reasons(records)
    assert (identity, reason) == ("page-2", TOO_LARGE)
    assert len(page(2, "x" * 300_000).strip().encode()) == int(records[1].detail.split()[0])


@pytest.mark.parametrize(
    ("cut", "pages", "problem"), [(3, 2, "without </mediawiki>"), (40, 1, "inside a page"), (400, 0, "inside a page")]
)
def test_a_truncated_dump_gives_what_came_before_and_says_so(read, cut, pages, problem):
    records = read(dump(page(1), page(2))[:-cut])
    assert len(ids(records)) == pages
    assert reasons(records) == [("end", UNREADABLE)]
    assert problem in records[-1].detail


@pytest.mark.parametrize("label", ["utf-16", "utf-16-be", "utf-32", "windows-1251"])
def test_a_dump_is_read_in_the_encoding_that_it_tells_of(read, label):
    declared = f'<?xml version="1.0" encoding="{label}"?>\n' if label.startswith("windows") else ""
    whole = declared + dump(page(1, "Ж.", title="Юг"), page(2)).decode()
    for pack in (bytes, bz2.compress):
        first, second = read(pack(whole.encode(label)))
        assert reader().document(first).text == "Юг\n\nЖ."
        assert reader().document(second).text == "Page 2\n\nSome text."


def test_an_encoding_that_nobody_knows_is_named(read):
    (only,) = read(b'<?xml version="1.0" encoding="x-y"?>' + dump(page(1)))
    assert (only.id, only.reason, only.detail) == ("dewiki.xml", UNREADABLE, "its encoding x-y is not known")


@pytest.mark.parametrize("content", [b"", b"no xml", b"<posts><page></page></posts>"])
def test_what_is_not_a_dump_is_unreadable(read, content):
    (only,) = read(content)
    assert (only.id, only.reason) == ("dewiki.xml", UNREADABLE)
    assert "not a dump of pages" in only.detail


def test_a_dump_without_pages_is_empty_and_no_error(read):
    assert read(dump()) == []


def test_an_entity_bomb_does_not_go_off(read):
    bomb = b'<!DOCTYPE mediawiki [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>\n'
    records = read(bomb + dump(page(1), page(2).replace("Some text.", "&b;")))
    verdicts = [reader().document(raw) for raw in records]
    assert verdicts[0].text == "Page 1\n\nSome text."
    assert verdicts[1].reason == UNREADABLE


def test_compressed_multistream_dumps_are_read_and_broken_ones_as_far_as_they_go(read):
    parts = [HEADER, *(page(n, "word " * 9000) for n in range(9)), "</mediawiki>"]
    streams = [bz2.compress(part.encode()) for part in parts]
    assert ids(read(b"".join(streams))) == [str(n) for n in range(9)]
    broken = read(b"".join(streams[:7]) + streams[7][:-9])
    assert ids(broken)[:5] == ["0", "1", "2", "3", "4"]
    assert reasons(broken) == [("end", UNREADABLE)]


def test_a_missing_file_is_unreadable():
    (only,) = reader().records(InputFile("/nowhere/x.bz2", "x.bz2", 1, ""))
    assert (only.id, only.reason) == ("x.bz2", UNREADABLE)


@given(st.binary() | st.text().map(lambda text: page(1, text).encode("utf-8", "replace")))
def test_no_bytes_make_a_document_raise(content):
    document = reader().document(Raw("x#1", content))
    if isinstance(document, Document):
        document.text.encode()
        assert document.text == document.text.rstrip()
        assert "\r" not in document.text
        assert "\0" not in document.text


@given(st.binary(max_size=300), st.integers(0, 900))
def test_no_bytes_make_the_records_raise(tmp_path_factory, noise, place):
    path = tmp_path_factory.getbasetemp() / "noise.xml"
    whole = dump(page(1), page(2))
    path.write_bytes(whole[:place] + noise + whole[place:])
    for record in reader(500).records(InputFile(str(path), "noise.xml", 1, "")):
        assert isinstance(record, Raw | Dropped)


def test_the_real_dump(real):
    name = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
    path = real(f"wikipedia/{name}")
    records = list(reader().records(InputFile(str(path), path.name, path.stat().st_size, "")))
    tree = etree.fromstring(bz2.decompress(path.read_bytes()))
    spaces = {"m": "http://www.mediawiki.org/xml/export-0.10/"}
    pages = tree.findall("m:page", spaces)
    articles = [
        one for one in pages if one.find("m:redirect", spaces) is None and one.findtext("m:ns", "", spaces) == "0"
    ]
    assert len(records) == len(pages) == 206
    assert ids(records) == [one.findtext("m:id", "", spaces) for one in articles]
    documents = [reader().document(record) for record in records if isinstance(record, Raw)]
    marks = re.compile(r"\[\[|\]\]|'''|<ref|</|==|\{\||&[a-z]+;|\(\s*[;,)]|\b(thumb|File|Category|Image):")
    marked = [document.id for document in documents if marks.search(re.sub(r"\$[^$]*\$", "", document.text))]
    assert len(marked) <= len(documents) // 100, marked
    for document, article in zip(documents, articles, strict=True):
        assert document.text.startswith(article.findtext("m:title", "", spaces) + "\n\n")
        assert document.language == "en"
        assert document.date == article.findtext("m:revision/m:timestamp", "", spaces)
    assert 2.5e6 < sum(len(document.text) for document in documents) < 3.2e6


def test_sentences_of_the_real_dump_are_those_that_the_parser_alone_gives(real):
    name = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
    path = real(f"wikipedia/{name}")
    records = list(reader().records(InputFile(str(path), path.name, path.stat().st_size, "")))
    raws = [record for record in records if isinstance(record, Raw)][::15]
    found = wanted = 0
    for raw in raws:
        wikitext = etree.fromstring(raw.content).findtext("revision/text", "")
        lead = wikitext.partition("\n==")[0]
        code = mwparserfromhell.parse(lead)
        for reference in code.filter_tags(matches=lambda tag: tag.tag == "ref"):
            code.remove(reference)
        plain = code.strip_code()
        text = "".join(reader().document(raw).text.split())
        sentences = [
            one for one in re.findall(r"[A-Z][^.\n()]{40,}\.", plain) if not re.search(r"thumb|px|\||=|''| [,;.]", one)
        ]
        wanted += len(sentences)
        found += sum("".join(sentence.split()) in text for sentence in sentences)
    assert wanted > 50
    assert found >= 0.98 * wanted
