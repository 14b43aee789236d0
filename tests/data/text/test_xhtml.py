"""XHTML by the rules of XML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.text.html import main_text
from puna.data.text.xhtml import is_xhtml, xhtml_as_html

WORDS = "Some words of a paragraph, so that there is one."
PAGE = f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>T</title>%s</head><body><p>{WORDS}</p>%s</body></html>'


@pytest.mark.parametrize(
    ("head", "body", "text"),
    [
        ('<script src="a.js"/>', "<p>seen</p>", "seen"),
        ("<style/><title/>", "<div/><p>seen</p>", "seen"),
        ("", "<p>a<![CDATA[ <b> & ]]>c</p>", "a <b> & c"),
        ("", "<p>caf&eacute;&nbsp;&mdash; a &amp; b &lt;i&gt;</p>", "café — a & b <i>"),
        ("<!-- <p> -->", "<textarea/><iframe/><p>x<br/>y</p>", "x\ny"),
        ("<script>//<![CDATA[\nif (a < b) {}\n//]]></script>", "<p>seen</p>", "seen"),
        ("", '<math xmlns="http://www.w3.org/1998/Math/MathML"><mi>x</mi></math>', "x"),
        ("", '<p>a <x:script xmlns:x="urn:x">b</x:script></p>', "a b"),
    ],
)
def test_a_page_is_read_as_xml(head: str, body: str, text: str):
    assert main_text(xhtml_as_html(PAGE % (head, body))) == f"{WORDS}\n\n{text}"


def test_prefixes_of_the_namespace_count():
    page = '<h:html xmlns:h="http://www.w3.org/1999/xhtml"><h:body><h:p>One.</h:p><h:p>Two.</h:p></h:body></h:html>'
    assert main_text(xhtml_as_html(f"<?xml version='1.0' encoding='koi8-r'?>\n{page}")) == "One.\n\nTwo."
    assert is_xhtml(page)
    assert not is_xhtml("<rss><channel/></rss>")


@pytest.mark.parametrize("body", ["<p>open", "<b><i>x</b></i>", "&unknown;", "<p class=x>y</p>", "a & b"])
def test_what_is_not_well_formed_is_left_to_the_parser_of_html(body: str):
    page = PAGE % ("", body)
    assert xhtml_as_html(page) == page


def test_elements_that_end_themselves_are_ended_where_a_page_is_not_well_formed():
    head = '<link rel="x" href="/a"/><!-- <script/> --><script src="a>b.js" type=\'t\' /><title/>'
    page = PAGE % (head, "<p>A & B<br/></p><textarea/><p>seen</p>")
    assert main_text(xhtml_as_html(page)) == f"{WORDS}\n\nA & B\n\nseen"
    assert main_text(xhtml_as_html(page[:-18])).endswith("A & B\n\nseen")


def test_entities_are_not_expanded():
    bomb = '<!DOCTYPE html [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>' + PAGE % ("", "<p>&b;</p>")
    assert "aaaaaaaaaaaa" not in xhtml_as_html(bomb)


@given(st.text(alphabet="<>/&;![]CDATA-p x=\"'\ud800\x00:") | st.text())
def test_nothing_raises(page: str):
    xhtml_as_html(page)
