import html

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html as lxml_html

from puna.data.readers.post_html import post_text


def test_paragraphs_are_separated_by_a_blank_line_and_links_leave_their_words():
    body = '<p>See <a href="https://x.org">the\n manual</a> &amp; try.</p>\n\n<p>One<br>two</p>'
    assert post_text(body) == "See the manual & try.\n\nOne\ntwo"


def test_code_keeps_its_indentation_and_blank_lines():
    code = "for x in y:\n    if x &lt; 2:\n\n\treturn\n"
    body = f"<p>So:</p>\n\n<pre><code>{code}</code></pre>\n<p>Use <code>a  b</code>.</p>"
    assert post_text(body) == "So:\n\nfor x in y:\n    if x < 2:\n\n\treturn\n\nUse a b."


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<pre><code>all:\n\tcc x.c\n</code></pre>", "all:\n\tcc x.c"),
        ("<pre><code>a\tb\t\tc\n1\t\t3\n</code></pre>", "a\tb\t\tc\n1\t\t3"),
        ("<pre>\n\tfirst<br>\tsecond</pre>", "\tfirst\n\tsecond"),
        ("<pre>\n\n\tfirst</pre>", "\tfirst"),
        ("<ol start='2'><li><pre><code>all:\n\tcc</code></pre></li></ol>", "2. all:\n   \tcc"),
        ("<blockquote><pre><code>all:\n\tcc</code></pre></blockquote>", "> all:\n> \tcc"),
        ("<p>tabs\tin\ttext and <code>a\tb</code></p>", "tabs in text and a b"),
        ("<ol start='-1'><li>a<li value='7'>b<li>c</ol>", "-1. a\n7. b\n8. c"),
    ],
)
def test_tabs_of_code_and_numbers_of_items_are_those_of_the_page(body: str, text: str):
    assert post_text(body) == text


def test_lists_have_an_item_on_each_line_and_are_nested_by_indentation():
    body = "<p>Do</p><ul><li>one</li><li><p>two</p><ol start='3'><li>a<li>b</ol></li></ul><ul><li>other</li></ul>"
    assert post_text(body) == "Do\n\n- one\n- two\n  3. a\n  4. b\n\n- other"


def test_code_in_an_item_is_indented_as_the_item_is():
    body = "<ol><li><p>run</p><pre><code>a\n  b</code></pre></li><li>stop</li></ol>"
    assert post_text(body) == "1. run\n\n   a\n     b\n\n2. stop"


def test_a_quotation_is_marked_on_each_line():
    assert post_text("<blockquote><p>a<br>b</p><p>c</p></blockquote><p>d</p>") == "> a\n> b\n\n> c\n\nd"


def test_a_table_has_a_row_on_each_line():
    body = "<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table>"
    assert post_text(body) == "A | B\n1 | 2"


def test_scripts_keep_their_meaning_and_what_is_not_text_is_gone():
    body = "<p>10<sup>6</sup> H<sub>2</sub>O x<sup>k</sup></p>"
    assert post_text(body + "<!-- begin snippet --><script>alert(1)</script><img alt='i'><hr>") == "10⁶ H₂O x^k"


def test_text_without_markup_stays_and_broken_markup_loses_no_words():
    assert post_text(" a > b ") == "a > b"
    assert post_text("<p>one <b>two</p> three</i> &unknown; four <") == "one two\n\nthree &unknown; four <"


def test_one_post_leaves_nothing_behind_for_the_next():
    assert post_text("<ul><li><blockquote><pre>open <sup>never closed") == "- > open never closed"
    assert post_text("<p>next</p>") == "next"


def test_a_deep_and_a_long_post_are_read_in_time():
    assert "x" in post_text("<blockquote><ul><li>" * 20_000 + "x")
    assert post_text("<p>y " * 50_000).count("y") == 50_000


words = st.text(alphabet="abcdefghij", min_size=1, max_size=6)


@given(st.lists(st.tuples(st.sampled_from(["p", "li", "b", "blockquote", "pre", "h1", "td"]), words), max_size=8))
def test_every_word_is_kept_in_its_order_as_another_parser_finds_them(parts):
    body = "<div>" + "".join(f"<{tag}>{html.escape(word)}</{tag}>" for tag, word in parts) + "</div>"
    found = [word for word in post_text(body).replace("|", " ").split() if word not in ("-", ">")]
    assert "".join(found) == "".join(lxml_html.fromstring(body).text_content().split())


@given(st.text() | st.text(alphabet="<>/&;abpreulio sco=\"'\n\x00\ud800\xa0!-#x0"))
def test_nothing_raises(body):
    post_text(body).encode()
