r"""Formulas of pages: each once, as TeX where the page has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.text.html import main_text

WORDS = "Some words of a paragraph, so that there is one."
PAGE = f"<html><body><main><article><p>{WORDS}</p>%s<p>{WORDS}</p></article></main></body></html>"
NOTE = '<annotation encoding="application/x-tex">E=m</annotation>'
MATH = f"<math><semantics><mrow><mi>E</mi><mo>=</mo><mi>m</mi></mrow>{NOTE}</semantics></math>"
BARE = "<math><mi>E</mi><mo>=</mo><mi>m</mi></math>"
KATEX = (
    f'<span class="katex"><span class="katex-mathml">{MATH}</span><span class="katex-html" aria-hidden="true">'
    '<span class="base">E=m</span></span></span>'
)
WIKI = (
    '<span class="mwe-math-element"><span class="mwe-math-mathml-inline mwe-math-mathml-a11y" style="display: none;">'
    r'<math alttext="{\displaystyle E=m}">'
    '<semantics><mi>E</mi><annotation encoding="application/x-tex">'
    r'{\displaystyle E=m}</annotation></math></span><img src="https://wikimedia.org/media/math/render/svg/9f" '
    r'class="mwe-math-fallback-image-inline" aria-hidden="true" alt="{\displaystyle E=m}"></span>'
)
MATHJAX2 = (
    '<span class="MathJax_Preview">E=m</span><span class="MathJax" data-mathml="<math></math>"><nobr '
    f'aria-hidden="true">E=m</nobr><span class="MJX_Assistive_MathML" role="presentation">{BARE}</span></span>'
)
MATHJAX3 = (
    '<mjx-container class="MathJax" jax="CHTML"><mjx-math aria-hidden="true"><mjx-mi></mjx-mi></mjx-math>'
    f"<mjx-assistive-mml>{BARE}</mjx-assistive-mml></mjx-container>"
)


def _between(html: str) -> str:
    text = main_text(PAGE % html)
    first, middle, last = text.split(WORDS) if text.count(WORDS) == 2 else pytest.fail(text)
    assert first == last == ""
    return middle.strip("\n")


@pytest.mark.parametrize(
    "formula",
    [
        KATEX,
        MATH,
        f'<span class="katex">{MATH}</span>',
        WIKI,
        r'<i class="mwe-math-x"><img class="mwe-math-fallback-image-inline" alt="{\displaystyle E=m}" src=math/x></i>',
        '<math alttext="E=m"><mi>E</mi></math>',
        MATHJAX2 + '<script type="math/tex">E=m</script>',
        '<script type="math/tex">% <![CDATA[\nE=m % a comment\n%]]></script>',
        '<mjx-container data-latex="E=m"><i data-latex="E=m"><b data-latex="E"></b></i></mjx-container>',
        '<img src="https://s0.wp.com/latex.php?latex=E%3Dm" alt="E=m" class="latex">',
        '<img class=tex alt="E=m" src=x.png>',
        '<img src="https://latex.codecogs.com/svg.latex?E=m">',
        '<img src="https://x.org/cgi-bin/mimetex.cgi?E%3Dm" alt="">',
        '<img src="https://s0.wp.com/latex.php?bg=fff&amp;latex=E%3Dm&amp;s=0">',
        '<img src="https://www.zhihu.com/equation?tex=E%3Dm" alt="">',
        f'<span data-tex="E=m">{MATHJAX2}<script type="math/tex">E=m</script><span class="holder">E=m</span></span>',
        '<img alt="$E=m$" src="img1.png">',
        '<img src="https://latex.codecogs.com/gif.latex?E=m" alt="E=m">',
        '<span><img alt="$E=m$" src=a.gif><script type="math/tex">E=m</script></span>',
        r'<amp-mathml data-formula="\[E=m\]"></amp-mathml>',
    ],
)
def test_a_formula_is_written_once_and_as_tex(formula: str):
    assert _between(f"<p>We see {formula} here.</p>") == "We see $E=m$ here."


@pytest.mark.parametrize(
    "formula",
    [
        f'<span class="katex-display">{KATEX}</span>',
        MATH.replace("<math>", '<math display="block">'),
        f'<div class="MathJax_Display">{MATHJAX2}</div><script type="math/tex; mode=display">E=m</script>',
        WIKI.replace('"mwe-math-element"', '"mwe-math-element mwe-math-element-block"'),
        r'<img class="latex" alt="\[E=m\]" src=x>',
    ],
)
def test_a_displayed_formula_has_lines_of_its_own(formula: str):
    assert [line for line in _between(f"<div>So {formula} holds.</div>").split("\n") if line] == [
        "So",
        "$$E=m$$",
        "holds.",
    ]


@pytest.mark.parametrize(
    "formula",
    [
        BARE,
        MATHJAX3,
        MATHJAX2,
        MATHJAX2 + f'<script type="math/mml">{BARE}</script>',
        f"<math><semantics><mrow>{BARE[6:-7]}</mrow><annotation-xml><ci>E</ci></annotation-xml></semantics></math>",
        '<span class="katex"><span class="katex-html" aria-hidden="true"><span>E=m</span></span></span>',
        '<img class="Wirisformula" alt="E" data-mathml="«math xmlns=¨x¨»«mi»E«/mi»«mo»=«/mo»«mi»m«/mi»«/math»">',
        '<span class="MathJax" data-mathml="&lt;math&gt;&lt;mi&gt;E=m&lt;/mi&gt;&lt;/math&gt;"><i hidden>E</i></span>',
    ],
)
def test_a_formula_without_tex_is_its_own_text(formula: str):
    assert _between(f"<p>We see {formula} here.</p>") == "We see E=m here."


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<msup><mi>x</mi><mn>2</mn></msup>", "x²"),
        ("<msub><mi>x</mi><mi>i</mi></msub>", "x_i"),
        ("<msubsup><mi>x</mi><mn>1</mn><mn>2</mn></msubsup>", "x₁²"),
        ("<mfrac><mn>1</mn><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow></mfrac>", "1/(a+b)"),
        ("<msqrt><mi>y</mi></msqrt>", "√(y)"),
        ("<mi>a</mi><mo>&#x2062;</mo><mi>b</mi>", "ab"),
        ("<mtable><mtr><mtd>1</mtd><mtd>2</mtd></mtr><mtr><mtd>3</mtd><mtd>4</mtd></mtr></mtable>", "1, 2; 3, 4"),
        ("<mi>∑</mi>", "∑"),
    ],
)
def test_mathml_keeps_its_meaning_on_a_line(markup: str, text: str):
    assert _between(f"<p>so <math>{markup}</math> is</p>") == f"so {text} is"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (r"<p>raw \(x\) and $y$</p>", r"raw \(x\) and $y$"),
        ('<p>a <img src=cat.jpg alt="the cat" class="size-full"> here</p>', "a here"),
        ('<p><script type="math/asciimath">x^2</script></p>', "`x^2`"),
        ('<p>price <img alt="$" src=x> 5 math/</p>', "price 5 math/"),
        ('<p><script type="math/tex">{\\textstyle a}{b}</script></p>', r"${\textstyle a}{b}$"),
    ],
)
def test_what_is_not_a_formula_of_a_tool_stays(html: str, text: str):
    assert _between(html) == text


_tags = [
    "<math>",
    "</math>",
    "<semantics>",
    NOTE,
    "<msup>",
    "</msup>",
    "<mi>x</mi>",
    "<mfrac>",
    "</mfrac>",
    "<p>",
    "</span>",
]
_tags += [
    '<span class="katex">',
    '<span class="MathJax">',
    '<script type="math/tex">',
    "</script>",
    '<img class=tex alt="$">',
]
_tags += [
    '<span data-latex="x">',
    "<mjx-container>",
    "text",
    '<i data-mathml="<math><mi>q">',
    '<script type="math/mml">',
]


@given(st.lists(st.sampled_from(_tags), max_size=20))
def test_any_page_gives_text(tags: list[str]):
    assert "\ufdd0" not in main_text("".join(tags))
