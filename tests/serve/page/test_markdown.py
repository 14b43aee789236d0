"""Markdown on the chat page beside markdown-it-py, which is another implementation of CommonMark."""

import random
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from scripted_chat import Script

pytestmark = pytest.mark.browser

TEXTS = [
    "One paragraph\nwith two lines  \nand a break\\\nor two.",
    "# One\n## Two ##\n###### Six\n####### none\n#none",
    "Title\n===\n\nLess\n---",
    "*a* **b** ***c*** _d_ __e__ a_b_c a*b*c **a*b*c** *a **b***",
    "**a *b* c** *(a)* **\"x\"**y 2 * 3 * 4 \\*a\\*",
    "`a` ``b ` c`` ` ` `` ` `` `not *em*` \\`x` `a\nb`",
    "~~gone~~ ~a~ a~~b~~",
    "- a\n- b\n  - c\n    - d\n- e",
    "1. a\n2. b\n\n   more of b\n3. c",
    "3) a\n4) b\n* c\n+ d",
    "- a\n\n- b\n\n\n- c",
    "-\n- a\n-\n\nb",
    "in\n14. no list\n- but this\n1. and this",
    "> a\n> b\nlazy\n\n> c\n>> d\n> > > e",
    "> - a\n>   b\n> - c\n\n- > d\n  > e",
    "```python\nx = 1\n\n  y\n```\nafter",
    "~~~\n```\n~~~\n````\n```\n````\n```\nopen",
    "- a\n  ```\n  code\n    more\n  ```\n- b\n\n      indented\n",
    "    code\n\n    more\n\ntext",
    "***\n---\n___\n* * *\n-- -\n- - -",
    "[a](https://x.org) [b](<https://x.org/a b> \"t\") [c](https://x.org/(d)) [*e*](http://x.org 'f')",
    "[a [b](mailto:x@y) c](mailto:z@y) [no] (mailto:x@y) [x](mailto:x@y\n[]",
    "<https://x.org/a?b=c&d> <mailto:a@b.org> <no> <b>x</b> &amp;",
    "| a | b |\n|---|:-:|\n| `c` | *d* |\n| e |\n| f | g | h |\n\nafter",
    "a | b\n--|--\n1 \\| 2 | 3\n> quote",
    "a\n\n| no table\n|--|--|",
    "é*é*é “*a*” 中文**强调**。 **foo**bar",
    "",
    "\n\n  \n",
]  # fmt: skip
PIECES = (
    "a", "b c", " ", "\n", "\n", "\n\n", "*", "**", "_", "__", "`", "``",
    "```\n", "~~", "> ", "- a", "* b", "1. c", "# ", "---\n",
    "[", "](mailto:x@y)", ")", "\\", "<b>", "é", ".", "*a*", "**b** ",
)  # fmt: skip
TREES = """
const [texts, done] = arguments;
const tree = (node) => {
  const parts = [];
  for (const child of node.childNodes) {
    const name = child.nodeName.toLowerCase();
    if (name === "#text" || name === "figcaption") {
      if (name === "#text") parts.push(child.data);
    } else if (["figure", "div", "span", "thead", "tbody"].includes(name)) parts.push(...tree(child));
    else parts.push([name, child.getAttribute(name === "ol" ? "start" : "href") ?? "", tree(child)]);
  }
  return parts;
};
import("/page/render.js").then(({ render }) => done(texts.map((text) => {
  const element = document.createElement("div");
  render(element, text);
  return tree(element);
})), (error) => done(String(error)));
"""
CommonMark = (
    MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable(["reference", "entity"])
)


class Tree(HTMLParser):
    """HTML as the page's elements are told: [name, address or first number, parts]."""

    def __init__(self) -> None:
        super().__init__()
        self.top: list[Any] = []
        self._open = [self.top]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("thead", "tbody"):
            return
        values = dict(attrs)
        # The page has headings of its own above those of the model.
        name = f"h{min(int(tag[1]) + 2, 6)}" if re.fullmatch(r"h\d", tag) else tag
        made: list[Any] = [name, values.get("start" if tag == "ol" else "href") or "", []]
        self._open[-1].append(made)
        if tag not in ("br", "hr"):
            self._open.append(made[2])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("thead", "tbody", "br", "hr"):
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].append(data)


def plain(parts: list[Any]) -> list[Any]:
    """Texts put together, without the white space that browsers do not show."""
    made: list[Any] = []
    for part in parts:
        if isinstance(part, str):
            made.append(re.sub(r"\s+", " ", made.pop() + part if made and isinstance(made[-1], str) else part))
        else:
            address = part[1].removesuffix("/") if isinstance(part[1], str) else part[1]
            made.append([part[0], address, plain(part[2])])
    trimmed = [part.strip() if isinstance(part, str) else part for part in made]
    return [part for part in trimmed if part]


def expected(text: str) -> list[Any]:
    tree = Tree()
    tree.feed(CommonMark.render(text))
    return plain(tree.top)


def shown(browser: Any, texts: list[str]) -> list[Any]:
    trees = browser.execute_async_script(TREES, texts)
    assert isinstance(trees, list), trees
    return [plain(tree) for tree in trees]


def test_texts_are_shown_as_another_implementation_reads_them(page_browser: Any, script: Script) -> None:
    page_browser.get(script.url)
    for text, tree in zip(TEXTS, shown(page_browser, TEXTS), strict=True):
        assert tree == expected(text), text


def test_random_texts_are_shown_as_another_implementation_reads_them(page_browser: Any, script: Script) -> None:
    draw = random.Random(1)
    texts = ["".join(draw.choices(PIECES, k=draw.randint(1, 14))) for _ in range(2000)]
    # How rows of three tildes are read is not agreed.
    texts = [text for text in texts if "~~~" not in text]
    page_browser.get(script.url)
    for text, tree in zip(texts, shown(page_browser, texts), strict=True):
        assert tree == expected(text), text


def test_a_text_that_grows_is_shown_as_the_whole_is(page_browser: Any, script: Script) -> None:
    """The page keeps the blocks that are as they were."""
    page_browser.get(script.url)
    text = "\n\n".join(TEXTS)
    grown, whole = page_browser.execute_async_script(
        """const [text, done] = arguments;
        import("/page/render.js").then(({ render }) => {
          const grows = document.createElement("div"), whole = document.createElement("div");
          for (let end = 0; end <= text.length; end++) render(grows, text.slice(0, end));
          render(whole, text);
          done([grows.outerHTML, whole.outerHTML]);
        });""",
        text,
    )
    assert grown == whole
