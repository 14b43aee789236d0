# ruff: noqa: RUF001 (characters that look alike are what these strings are about)

import pytest
from growth import assert_in_proportion
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.data.readers import wikitext
from puna.data.readers.wikitext import PIECE, Wiki, to_text

ARTICLE = """
{{Short description|Made-up town}}
{{Infobox settlement
| name = Vostra
| image = [[File:Vostra.jpg|250px]]
| population = {{formatnum:1234}}<ref>{{cite web|url=http://x.org|title=Census}}</ref>
}}
[[File:Vostra.jpg|thumb|left|The ''old'' [[bridge]] of Vostra]]
'''Vostra''' ({{IPAc-en|v|o}}; {{lang-la|Vostrum}})<ref name="a">A book, p. 5.</ref> is a [[town]] in
[[Nordland (county)|Nordland]],
{{convert|12|km|mi}} from the [[sea]].<!-- check --> Its &quot;lake&quot; has [http://x.org a dam] &ndash; built 1900.

== History ==
{{Main|History of Vostra}}
It was founded by l'''Ordre'' in {{circa|1200}}{{sfn|Book|1990|p=3}} .

=== Middle ages ===
{| class="wikitable"
|-
! Year !! People
|-
| 1300 || 200
|}

=== Later ===
* [[mill]]s, of which <math>n^2</math> stood
* bridges:
** the [[old bridge|old one]]

== Statistics ==
{| class="wikitable"
| 1 || 2
|}

== Sources ==
The [[river]] has two sources.

== See also ==
* [[Other town]]

== References ==
{{Reflist}}

=== Bibliography ===
* A Book, 1990.

== External links ==
* [http://vostra.org Official site]

{{Authority control}}
[[Category:Towns]]
[[fr:Vostra]]
"""

TEXT = """\
Vostra (Vostrum) is a town in Nordland, 12 km from the sea. Its "lake" has a dam – built 1900.

History

It was founded by l'Ordre in c. 1200.

Later

- mills, of which $n^2$ stood
- bridges:
  - the old one"""


def test_an_article_becomes_its_text():
    assert to_text(ARTICLE, "Vostra", Wiki("en")) == TEXT


def test_sections_about_the_subject_stay_though_their_titles_often_hold_references():
    text = ARTICLE.replace("== See also ==", "== Climate ==\nIt is cold.\n\n== See also ==")
    assert (
        to_text(text, "Vostra", Wiki("en"))
        == TEXT + "\n\nSources\n\nThe river has two sources.\n\nClimate\n\nIt is cold."
    )


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("[[a]]s and [[b|c]], [[d (e)|]], [[#f|g]], [[h#i]]", "as and c, d, g, h#i"),
        ("[[:Category:A|b]], [[:fr:c]], [[wikt:d]], [[wikt:e|f]]", "b, fr:c, d, f"),
        ("[[a|''b'' {{nbsp}}c]] [[d|[e]]] f", "b c [e] f"),
        ("see http://x.org/y and [http://x.org] or [//x.org z]", "see http://x.org/y and or z"),
        ("a&nbsp;b &amp;lt; &lt;ref&gt; &#8211;", "a b &lt; <ref> –"),
        ("if (a < b) f();", "if (a < b) f();"),
        ("<code>a[i]</code> <nowiki>'''x''' [[y]]</nowiki>", "a[i] '''x''' [[y]]"),
        ("a\n<source lang=c>\nf()\n{\n  return {{1}};\n}\n</source>\nb", "a\n\nf()\n{\n  return {{1}};\n}\n\nb"),
        ("a<math>x</math>b <chem>H2O</chem>", "a$x$b H2O"),
        ("== a ==\n== b ==\nc\n=== d ===\n==== e ====\nf\n== g ==", "b\n\nc\n\nd\n\ne\n\nf"),
        ("a\n== ''b'' [[c]] ==\nd", "a\n\nb c\n\nd"),
        ("a\x01\x0e0\x0fb\x00", "a0b"),
        ("a\r\nb\r\n\r\nc", "a b\n\nc"),
        ("{{unclosed\n| b = c\ntext [[open", "unclosed\n\ntext open"),
        ("a {{lang|fr|b c", "a lang|fr|b c"),
        ("a\n<br>\n\n<br/> b<br>c", "a\n\nb\nc"),
        ("|x| is it\n\n| y", "|x| is it\n\n| y"),
        ("<code>#include <a.h></code>\n\n<nowiki/>* b\n\n<b>:c</b>", "#include <a.h>\n\n* b\n\n:c"),
        ("text\n make:\n \tcc  -o a\n   b\nmore", "text\n\nmake:\n\tcc  -o a\n  b\n\nmore"),
        ("<pre>\nall:\n\tcc</pre>", "all:\n\tcc"),
        ("# a\n#: b\n# c\n\n# d\n* e\n# f", "1. a\n  b\n2. c\n1. d\n- e\n1. f"),
        ("<ol start=3><li>a</li><li value='7'>b</li></ol><ul><li>c</li></ul>", "3. a\n7. b\n- c"),
        ("a __NOTOC__b __FILE__ and __notoc__\n__GIBTSNICHT__", "a b __FILE__ and"),
        ("a -{b}- and -{zh-hans:c; zh-hant:d}-", "a -{b}- and -{zh-hans:c; zh-hant:d}-"),
    ],
)  # fmt: skip
def test_markup_leaves_its_words(markup, expected):
    assert to_text(markup, "Page", Wiki("en")) == expected


@pytest.mark.parametrize(
    ("language", "markup"),
    [
        ("de",
        "[[Datei:a.jpg|mini|x]][[Bild:a.jpg]]{{Infobox}}\nWort[[Kategorie:B]]\n== Belege ==\n* x\n== Weblinks ==\n* y"),
        ("fr", "[[Fichier:a.jpg|vignette|x]]\nWort[[Catégorie:B]]\n== Voir aussi ==\n=== Bibliographie ===\n* x"),
        ("es", "[[Archivo:a.jpg]]\nWort[[Categoría:B]]\n== Bibliografía ==\n* x\n== Enlaces externos ==\n* x"),
        ("ru", "[[Файл:a.jpg|мини|x]]\nWort[[Категория:B]]\n== Литература ==\n* x\n== Ссылки ==\n* x"),
        ("pl", "[[Plik:a.jpg|thumb|x]]\nWort[[Kategoria:B]]\n== Przypisy ==\n== Bibliografia ==\n* x"),
        ("hu", "[[Fájl:a.jpg|x]]\nWort[[Kategória:B]]\n== Jegyzetek ==\n* x\n== Források ==\n* x"),
        ("sr", "[[Датотека:a.jpg|x]]\n-{Wort}-[[Категорија:B]]\n== Референце ==\n* x\n== Спољашње везе ==\n* x"),
    ],
)  # fmt: skip
def test_pictures_categories_and_references_go_in_other_languages(language, markup):
    assert to_text(markup, "Page", Wiki(language)) == "Wort"


def test_the_dump_tells_its_own_names_of_namespaces():
    assert to_text("[[Skeudenn:a.jpg|x]] b", "Page", Wiki("br", frozenset(["skeudenn"]))) == "b"


def test_a_piece_that_is_too_long_for_the_parser_loses_markup_all_the_same():
    line = "word [[a:b|c]] {{nowrap|d}} [http://x.org e] " * (PIECE // 40)
    assert "[" not in line.replace("[", "")
    text = to_text(line, "Page", Wiki("en"))
    assert set(text.split()) == {"word", "c", "d", "e"}


def test_links_without_markup_inside_are_as_the_parser_would_have_them(monkeypatch):
    quick = to_text(ARTICLE, "Vostra", Wiki("en"))
    monkeypatch.setattr(wikitext, "_PLAIN_LINK", wikitext.re.compile("(?!)"))
    assert to_text(ARTICLE, "Vostra", Wiki("en")) == quick


MARKUP = ["{{", "}}", "[[", "]]", "|", "'''", "''", "<ref>", "</ref>", "\n", "<ref/>", "=", "==", "* ", "#", ":",
          "{|", "|}",
          "<b>", "</b>", "<math>", "</math>", "[http://x ", "]", "&amp;", "&#1;", "(", ")", "lang|fr|", "File:", "a",
          " ", "<",
          "{{lang|fr|", "{{convert|5|", "<!--", "-->", "\x01", "\x0e0\x0f", "\ud800", "__TOC__", "-{", "}-",
          "quote|"]  # fmt: skip


def test_numbers_longer_than_python_reads_are_not_numbers():
    long = "1" * 5000
    assert to_text(f"a &#{long};b", "Page", Wiki("en")) == "a b"
    assert to_text(f"a<sup>&amp;#{long};</sup> b", "Page", Wiki("en")) == "a^ b"
    assert to_text(f"{{{{lang|{long}=c|fr|d}}}}", "Page", Wiki("en")) == "d"
    assert to_text(f"{{{{as of|2000|{long}}}}}", "Page", Wiki("en")) == f"As of {long} 2000"


@settings(max_examples=150)
@given(st.lists(st.sampled_from(MARKUP), max_size=60).map("".join) | st.text())
def test_no_markup_raises_or_leaves_a_mark_behind(markup):
    text = to_text(markup, "Page", Wiki("fr"))
    assert not any(ord(character) < 32 and character not in "\n\t" for character in text)


@pytest.mark.parametrize(
    "unit",
    ["{{a|b=[[c|", "[[a|{{b|", "{{lang|", "{{{a|", "[http://a ", "<b ", "<b>", "{|\n|\n", "[[a|", "]][[ ",
    "{{lang|fr|a}}[[",
     "[[a:b|c]] ", "{{lang|fr|a}} ", "=", "(", "''", "*", "#\n", ";:", "(\x01", "&", "{{lang|fr|[http://a "],
)  # fmt: skip
def test_time_is_bounded_whatever_the_markup(unit):
    assert_in_proportion(lambda size: to_text(unit * (size // len(unit)), "Page", Wiki("en")), 40_000)
