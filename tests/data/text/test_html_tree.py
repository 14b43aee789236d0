"""What is changed in the tree of a page before its text is taken out."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from puna.data.text.html import main_text

WORDS = "Some words of a paragraph, so that there is one."
PAGE = f"<html><body><main><article><p>{WORDS}</p>%s<p>{WORDS}</p></article></main></body></html>"
HEXO = (
    '<figure class="highlight c"><figcaption><span>a.c</span></figcaption><table><tr><td class="gutter"><pre>'
    '<span class="line">1</span><br><span class="line">2</span><br></pre></td><td class="code"><pre>'
    '<span class="line">int x;</span><br><span class="line">\tint y;</span><br></pre></td></tr></table></figure>'
)
CODE = "int x;\n\tint y;"


def _between(html: str, page: str = PAGE) -> str:
    text = main_text(page % html)
    first, middle, last = text.split(WORDS) if text.count(WORDS) == 2 else pytest.fail(text)
    assert first == last == ""
    return middle.strip("\n")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<figure class="highlight"><pre><code>proj/\n  setup.py</code></pre></figure>', "proj/\n  setup.py"),
        (
            '<figure class="wp-block-table"><table><tr><th>Year<th>Price</tr><tr><td>2001<td>17</table></figure>',
            "Year\t\tPrice\n2001\t\t17",
        ),
        ('<figure class="wp-block-pullquote"><blockquote><p>So it is.</p><cite>He</cite></blockquote></figure>',
         "So it is.\n\nHe"),
        ("<figure><img src=x alt='a cat'><figcaption>The cat of 1903.</figcaption></figure>", "The cat of 1903."),
        ('<figure class="wp-block-gallery"><figure><img src=x></figure></figure>', ""),
        ("<figure hidden><pre>no</pre></figure>", ""),
        ("<FIGURE><PRE>a</PRE></FIGURE>", "a"),
    ],
)  # fmt: skip
def test_what_a_figure_holds_is_text_except_its_picture(html: str, text: str):
    assert _between(html) == text


@pytest.mark.parametrize(
    "html",
    [
        HEXO.replace("<figcaption><span>a.c</span></figcaption>", ""),
        '<table class="rouge-table"><tr><td class="rouge-gutter gl"><pre class="lineno">1\n2\n</pre></td>'
        f'<td class="rouge-code"><pre>{CODE}\n</pre></td></tr></table>',
        '<table class="highlighttable"><tr><td class="linenos"><div class="linenodiv"><pre>1\n2</pre></div></td>'
        f'<td class="code"><div class="highlight"><pre>{CODE}</pre></div></td></tr></table>',
        f"<table><tr><td><pre>1\n2\n</pre></td><td><pre>{CODE}</pre></td></tr></table>",
        '<div class="highlight"><table class="lntable"><tr><td class="lntd"><pre><code><span class="lnt">1\n</span>'
        f'<span class="lnt">2\n</span></code></pre></td><td class="lntd"><pre><code>{CODE}</code></pre></td></tr>'
        "</table></div>",
        '<pre><span class="linenos">1</span>int x;\n<span class="linenos">2</span>\tint y;</pre>',
        '<pre><span class="ln">1</span>int x;\n<span class="ln">2</span>\tint y;</pre>',
        f'<div class="language-c"><pre>{CODE}</pre><div class="line-numbers-wrapper"><span class="line-number">1</span>'
        '<br><span class="line-number">2</span><br></div></div>',
        '<table class="syntaxhighlighter"><tr><td class="gutter"><div class="line number1">1</div><div>2</div></td>'
        f'<td class="code"><pre>{CODE}</pre></td></tr></table>',
    ],
)
def test_the_numbers_beside_lines_of_code_are_not_in_the_code(html: str):
    assert _between(html) == CODE


def test_figures_that_do_not_count_lines_stay():
    html = '<p>in <span class="num">1848</span></p><pre>x = <span class="hljs-number">1</span></pre>'
    table = "<table><tr><td><pre>1\n2</pre></td><td>apples</td></tr></table>"
    assert _between(html) == "in 1848\n\nx = 1"
    assert _between(table) == "1\n2\napples"
    tabs = "<table><tr><td></td><td>x</td></tr></table><pre>if\n\t\ty</pre>"
    assert _between(tabs) == "x\nif\n\t\ty"
    assert _between("<ul><li>x<pre>y</pre></ul><pre>if\n\t\ty</pre>").endswith("if\n\t\ty")
    assert _between(HEXO) == f"a.c\n\n{CODE}"


@pytest.mark.parametrize(
    "html",
    [
        "<aside>Mind the gap.</aside>",
        '<div><aside class="admonition note">Mind the gap.</aside></div>',
        '<section><aside id="footnotes" class="footnotes" role="doc-endnotes">Mind the gap.</aside></section>',
        '<div class="alert alert-info" role="alert">Mind the gap.</div>',
        '<table class="body" role="presentation"><tr><td>Mind the gap.</td></tr></table>',
        "<details><summary>Mind the gap.</summary></details>",
    ],
)
def test_notes_in_the_text_are_text(html: str):
    assert _between(html) == "Mind the gap."


@pytest.mark.parametrize(
    "html",
    [
        '<div><aside class="sidebar">Buy this.</aside></div>',
        '<aside id="related-posts"><p>Read this.</p></aside>',
        '<aside role="complementary">About us</aside>',
        "<aside><a href=/1>One more story</a> <a href=/2>and another</a></aside>",
        "<aside hidden>Not shown</aside>",
    ],
)
def test_side_bars_are_not_text(html: str):
    assert _between(html) == ""


def test_an_aside_beside_the_main_text_is_a_side_bar():
    page = f"<html><body><div><main><p>{WORDS}</p><p>{WORDS}</p></main><aside>%s</aside></div></body></html>"
    assert _between("", page % "<p>Our shop</p>%s") == ""


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<p>On <time class="entry-date">5 May</time> it rained.</p>', "On 5 May it rained."),
        ("<div>Born <b>in</b> <time>1903</time></div>", "Born in 1903"),
        ("<table><tr><td><time>1903</time></td><td>x</td></tr></table>", "1903\t\tx"),
        ("<div><time>5 May</time></div>", ""),
        ('<p>By <span itemprop="author">Ann</span>, from <a itemprop="url" href=x>here</a></p>', "By Ann, from here"),
        ('<div itemprop="author">Ann</div>', ""),
        ("<p>Press <button>OK</button> or <label>this</label>.</p>", "Press OK or this."),
        ("<p>Text of it.</p><p><button>Share</button></p>", "Text of it."),
        ("<ul><li><label><input type=checkbox disabled> Buy <b>milk</b></label></li></ul>", "• Buy milk"),
        ("<details open><summary>More</summary>words</details>", "More\nwords"),
        ("<fieldset><legend>Kind</legend>words</fieldset>", "Kind\nwords"),
    ],
)
def test_words_of_a_sentence_stay_in_it(html: str, text: str):
    assert _between(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<ol start=3><li>c<li>d</ol>", "  3. c\n  4. d"),
        ("<ol start=0><li>c</ol>", "  0. c"),
        ("<ol start=' -1x'><li>c<li>d</ol>", "  -1. c\n  0. d"),
        ("<ol start=x><li>c</ol>", "  1. c"),
        ("<ol reversed><li>c<li>d</ol>", "  2. c\n  1. d"),
        ("<ol reversed start=9><li>c<li>d</ol>", "  9. c\n  8. d"),
        ("<ol><li>b<li value=7>c<li>d</ol>", "  1. b\n  7. c\n  8. d"),
        ("<ol type=a start=26><li>c<li>d</ol>", "  z. c\n  aa. d"),
        ("<ol type=I start=4><li>c<li>d</ol>", "  IV. c\n  V. d"),
        ("<ol type=i start=4000><li>c</ol>", "  4000. c"),
        ("<ol start=5><li><p>c</p><ol start=2><li>x</ol></li><li><b>d</b> e</ol>", "  5. c\n\n    2. x\n  6. d e"),
        ("<ol><li>a</li></ol><p>so</p><ol start=2><li>b</li></ol>", "  1. a\n\nso\n\n  2. b"),
        ("<OL START=3><LI>c</OL>", "  3. c"),
    ],
)
def test_items_have_the_numbers_that_the_page_shows(html: str, text: str):
    assert _between(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<ol><li>run<pre>if x:\n\ty\n\n  z</pre><li>end</ol>", "  1. run\n    if x:\n    \ty\n\n      z\n  2. end"),
        ("<ul><li>run<pre>if x:<br>  y</pre></ul>", "• run\nif x:\n  y"),
        ("<ol><li><pre><div>a</div><div>b <b>c</b></div></pre></ol>", "  1. a\n     b c"),
        ("<ol><li>x<pre>a<button>Copy</button></pre></ol>", "  1. x\n    a"),
    ],
)
def test_code_in_an_item_keeps_its_indentation(html: str, text: str):
    assert _between(html) == text


_tags = [
    f"<{name}>" for name in ("figure", "aside", "time", "ol start=2", "li value=3", "pre", "summary", "legend", "br")
]
_tags += [
    "</figure>",
    "</aside>",
    "</ol>",
    "</li>",
    "</pre>",
    "<td class=gutter>",
    "<table>",
    "<label>",
    "<div role=alert>",
]
_tags += ["1", " x ", "né", "<code>", "<input disabled>", "<p itemprop=author>", "\n"]


@given(st.lists(st.sampled_from(_tags), max_size=30))
@example(["<pre>", "<td class=gutter>", "<li value=3>"])
def test_any_page_gives_text_without_marks(tags: list[str]):
    assert not set(main_text("".join(tags))) & set("\ufdd0\ufdd1\ufdd2")
