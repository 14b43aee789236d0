import bz2
import gzip
import html
import re
from pathlib import Path

import pytest

from puna.core.errors import DataError
from puna.data.models.wikipedia_references import references, wikipedia_references

DUMP = "wikipedia/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"


def dump(path: Path, *texts: str) -> Path:
    pages = "".join(
        f"<page><title>t</title><revision><text xml:space='preserve'>{html.escape(text)}</text></revision></page>"
        for text in texts
    )
    path.write_text(f"<mediawiki xmlns='http://www.mediawiki.org/xml/export-0.10/'>{pages}</mediawiki>")
    return path


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("See<ref>[http://a.org/x A page]</ref>.", ["http://a.org/x"]),
        ('<ref name="n">http://a.org/x, http://b.org.</ref>', ["http://a.org/x", "http://b.org"]),
        ("<ref name=n/> text http://a.org/x <ref>b</ref>", []),
        ("<references>\n<ref name=n>http://a.org</ref></references>", ["http://a.org"]),
        ("* {{cite web|url=https://a.org/?a=1&b=2|title={{lang|de|T}}}}", ["https://a.org/?a=1&b=2"]),
        ("{{Citation | url = http://a.org/y }}", ["http://a.org/y"]),
        ("{{infobox | url = http://a.org/y }} [http://b.org outside]", []),
        ("<ref>http://a.org/x_(y) (http://b.org/z)</ref>", ["http://a.org/x_(y)", "http://b.org/z"]),
        ("<ref>''http://a.org/x''</ref>", ["http://a.org/x"]),
        ("<ref>http://a.org/x#part http://a.org/x?y&amp;z</ref>", ["http://a.org/x", "http://a.org/x?y&z"]),
        ("<ref>https://web.archive.org/web/20101010101010/http://a.org/x</ref>", ["http://a.org/x"]),
        ("<ref>https://web.archive.org/web/20101010101010/a.org/x</ref>", ["http://a.org/x"]),
        ("<ref>http://www.webcitation.org/query?date=2009&url=http://a.org/x</ref>", ["http://a.org/x"]),
        ("<ref>http://www.webcitation.org/6JoG0uE7r</ref>", []),
        ("<ref>http://en.wikipedia.org/wiki/X http://commons.wikimedia.org/x</ref>", []),
        ("<ref>http://localhost/x http://[bad http://</ref>", []),
        ("<ref>HTTP://A.org</ref>", ["HTTP://A.org"]),
    ],
)
def test_addresses_in_references_and_citations_are_found_as_mediawiki_links_them(wikitext, expected):
    assert list(references(wikitext)) == expected


def test_each_address_comes_once_for_all_dumps(tmp_path):
    first = dump(tmp_path / "a.xml", "<ref>http://a.org</ref>", "<ref>http://b.org http://a.org</ref>", "")
    second = dump(tmp_path / "b.xml", "<ref>http://b.org</ref><ref>http://c.org/ä</ref>")
    packed = tmp_path / "b.xml.gz"
    packed.write_bytes(gzip.compress(second.read_bytes()))
    found = list(wikipedia_references([first, packed]))
    assert sorted(found) == ["http://a.org", "http://b.org", "http://c.org/ä"]
    assert found == list(wikipedia_references([first, packed]))


def test_a_real_dump_gives_what_a_search_in_its_text_finds(real):
    path = real(DUMP)
    found = list(wikipedia_references([path]))
    text = html.unescape(bz2.decompress(path.read_bytes()).decode()).replace("&amp;", "&")
    candidates = " ".join(re.findall(r"http\S+", text, re.IGNORECASE))
    assert len(found) == len(set(found)) > 3900
    assert [address for address in found if address.partition("//")[2] not in candidates] == []
    known = "\n".join(found)
    plain = re.findall(r"<ref[^<>/]*>\s*\[?(https?://[\w./-]*[\w/])(?=[] <])", text)
    plain += re.findall(r"\{\{cite web *\| *url *= *(https?://[\w./-]*[\w/])(?= *\|)", text)
    assert len(plain) > 1000
    left_out = re.compile(r"wik(i|tionary)|archive\.org|webcitation")
    assert [address for address in plain if address not in known and not left_out.search(address)] == []


def test_references_that_never_end_take_no_longer_than_others():
    hostile = "<ref>" * 200_000 + "{{cite " * 200_000 + "{{cite" + "a" * 200_000 + "{{b}}" * 100_000
    assert list(references(hostile)) == []


def test_an_entity_of_the_dump_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("<ref>http://secret.org</ref>")
    (tmp_path / "evil.xml").write_text(
        f'<!DOCTYPE m [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]><mediawiki><page><text>&x;</text></page></mediawiki>'
    )
    assert list(wikipedia_references([tmp_path / "evil.xml"])) == []


def test_a_broken_dump_is_an_error_that_names_it(tmp_path):
    path = dump(tmp_path / "a.xml", "<ref>http://a.org</ref>")
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"a\.xml: is not an XML dump of Wikipedia \("):
        list(wikipedia_references([path]))
    with pytest.raises(DataError, match=r"none\.xml: cannot be read \(No such file"):
        list(wikipedia_references([tmp_path / "none.xml"]))
    packed = tmp_path / "a.xml.gz"
    packed.write_bytes(gzip.compress(b"<mediawiki>" + bytes(range(32, 127)) * 9999)[:-90])
    with pytest.raises(DataError, match=r"a\.xml\.gz: "):
        list(wikipedia_references([packed]))
