"""Turns the wikitext of an article into its text.

LLaMA (section 2.1) removes "hyperlinks, comments and other formatting boilerplate". This module removes comments,
references, tables, pictures, templates without text, links to other languages, categories, magic words and the sections
that hold references, links or nothing. It keeps the words of links and templates, the titles of sections as plain
lines, lists, code, and formulas as LaTeX between dollars: without them a sentence about mathematics has holes, and the
model also reads LaTeX from arXiv.

Links and templates are parsed by mwparserfromhell, in short pieces with matching brackets: its time is quadratic in
brackets that do not match (two seconds for 16,000 characters, and it cannot be interrupted).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import mwparserfromhell
from mwparserfromhell.nodes import Argument, ExternalLink, Template, Wikilink
from mwparserfromhell.parser import ParserError
from mwparserfromhell.wikicode import Wikicode

from puna.data.readers.wikitext_gaps import Gaps
from puna.data.readers.wikitext_lines import mark_lists, mark_preformatted, paragraphs
from puna.data.readers.wikitext_marks import BLANK, END, GAP, HOLE, LESS, STASHED
from puna.data.readers.wikitext_names import APPARATUS, HIDDEN_NAMESPACES, PERHAPS_APPARATUS, PROJECTS
from puna.data.readers.wikitext_patterns import TemplateCall
from puna.data.readers.wikitext_scan import drop_silent, drop_switches, drop_tables, drop_tags, lift, unescaped
from puna.data.readers.wikitext_templates import bare_name, expansion, words_of

PIECE = 8192
"""Characters of a piece of wikitext from which regular expressions strip it instead of the parser."""
_LEAST_PIECE = 2048
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_STASH = re.compile(f"{STASHED}([0-9]+){END}")
_SPACES = re.compile(r"(?<=\S) {2,}")
_MARKUP = re.compile(r"\{\{|\[\[|\[(?:https?:|ftp:)?//|\[mailto:")
_PLAIN_LINK = re.compile(r"\[\[([^\[\]{}|:\n]+)(?:\|([^\[\]{}|\n]+))?\]\]")
"""Simple links, nine in ten, which need no parser."""
_LEFT_OVER = re.compile(r"\{\{+|\}\}+|\[\[|\]\]")
_INNER_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_INNER_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
_OUTER_LINK = re.compile(r"\[(?:https?:|ftp:)?//[^\s\[\]]++[ \t]*+([^\[\]]*+)\]")


@dataclass(frozen=True, slots=True)
class Wiki:
    """A Wikipedia, as its dump describes it."""

    language: str
    """The code of its language, such as `en`."""
    hidden: frozenset[str] = frozenset()
    """Its own names for the namespaces of files and categories, in lower case."""


@dataclass(frozen=True, slots=True)
class _Section:
    level: int
    """Level of the title: 1 for the lead, 2 for `== … ==`."""
    title: str
    text: str


def to_text(wikitext: str, title: str, wiki: Wiki, gaps: Gaps | None = None) -> str:
    """The text of an article without its title: paragraphs, section titles and lists; empty where it has none.

    Args:
        wikitext: The source of the article.
        title: Its title.
        wiki: The Wikipedia that it is from.
        gaps: Counts of what unknown templates cost, which grow.
    """
    text = _CONTROLS.sub("", wikitext.replace("\r\n", "\n").replace("\r", "\n"))
    text, pieces = lift(text)
    hidden = HIDDEN_NAMESPACES | wiki.hidden
    text = drop_tables(drop_silent(drop_switches(text, wiki.language), wiki.language, hidden))
    text = drop_tags(mark_lists(mark_preformatted(text)))
    render = _Renderer(wiki.language, title, gaps or Gaps())
    sections = [replace(section, text=_plain(section.text, render)) for section in _without_apparatus(_sections(text))]
    sections = _without_empty(sections)
    blocks = []
    for section in _without_closing(sections):
        blocks += [_plain(section.title, render), section.text]
    text = unescaped("\n\n".join(filter(None, blocks))).replace("\xa0", " ").replace(LESS, "<")
    text = _SPACES.sub(" ", text).replace(BLANK, " ")
    text = _STASH.sub(lambda match: pieces[int(match[1])], text)
    return _CONTROLS.sub("", text)


def _sections(text: str) -> Iterator[_Section]:
    """The lead and the sections, each with the text up to the next title."""
    level, title, lines = 1, "", []
    for line in text.split("\n"):
        if "=" not in line:
            lines.append(line)
            continue
        bare = line.replace(HOLE, "").replace(GAP, "").strip()
        if not (bare.startswith("=") and bare.endswith("=") and len(bare) > 2):
            lines.append(line)
            continue
        depth = min(len(bare) - len(bare.lstrip("=")), len(bare) - len(bare.rstrip("=")), (len(bare) - 1) // 2)
        yield _Section(level, title, "\n".join(lines))
        level, title, lines = depth, bare[depth:-depth].strip(), []
    yield _Section(level, title, "\n".join(lines))


def _is_named(section: _Section, titles: frozenset[str]) -> bool:
    name = unescaped(section.title).replace("''", "").strip(" :").lower()
    return " ".join(name.split()) in titles


def _without_apparatus(sections: Iterator[_Section]) -> Iterator[_Section]:
    """The sections without those that hold references or links, and without the sections below them."""
    below = 0
    for number, section in enumerate(sections):
        if below and section.level > below:
            continue
        below = 0
        if number and _is_named(section, APPARATUS):
            below = section.level
        else:
            yield section


def _without_empty(sections: list[_Section]) -> list[_Section]:
    """The sections with a text of their own or in a section below them."""
    kept: list[_Section] = []
    for section in reversed(sections):
        if section.text or (kept and kept[-1].level > section.level and section.title):
            kept.append(section)
    return kept[::-1]


def _without_closing(sections: list[_Section]) -> list[_Section]:
    """The sections without those at the end with titles of sources, and without the sections below them."""
    end = len(sections)
    while end:
        start = end - 1
        while start and sections[start].level > 2:
            start -= 1
        if not start or not _is_named(sections[start], PERHAPS_APPARATUS):
            break
        end = start
    return sections[:end]


def _plain(text: str, render: "_Renderer") -> str:
    """A section's wikitext, after tags, tables and silent templates were removed, as plain paragraphs."""
    if not text.strip():
        return ""
    parts = []
    for piece in _pieces(_PLAIN_LINK.sub(_words, text)):
        if not _MARKUP.search(piece):
            parts.append(piece)
        elif len(piece) > PIECE:
            parts.append(render.stripped(piece))
        else:
            parts.append(render.text(piece))
    return paragraphs(_LEFT_OVER.sub("", "".join(parts)), render.gaps)


def _words(link: re.Match[str]) -> str:
    return link[2] or link[1]


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces of some lines, cut where no template or link is open."""
    start = position = depth = 0
    for line in text.splitlines(keepends=True):
        position += len(line)
        depth += line.count("{{") - line.count("}}") + line.count("[[") - line.count("]]")
        if depth <= 0 and position - start >= _LEAST_PIECE:
            yield text[start:position]
            start, depth = position, 0
    yield text[start:]


class _Renderer:
    """Gives the words of parsed links and templates."""

    def __init__(self, language: str, title: str, gaps: Gaps) -> None:
        self._language = language
        self._title = title
        self._words = words_of(language)
        self.gaps = gaps

    def text(self, piece: str) -> str:
        """A piece of wikitext without links and templates."""
        try:
            return self._all(mwparserfromhell.parse(piece, skip_style_tags=True))
        except (ParserError, RecursionError):
            return self.stripped(piece)

    def stripped(self, piece: str) -> str:
        """The same by regular expressions alone, for a piece that is too long for the parser."""
        for _ in range(8):
            piece, count = _INNER_TEMPLATE.subn(self._simple_template, piece)
            piece, links = _INNER_LINK.subn(r"\1", piece)
            if not count + links:
                break
        return _OUTER_LINK.sub(r"\1", piece)

    def _simple_template(self, match: re.Match[str]) -> str:
        name, *parameters = match[0][2:-2].split("|")
        pairs = [parameter.partition("=") for parameter in parameters]
        return self._expanded(name, [(key, value) if equals else ("", key) for key, equals, value in pairs])

    def _all(self, code: Wikicode | None) -> str:
        if code is None:
            return ""
        return "".join(self._node(node) for node in code.nodes)

    def _node(self, node: object) -> str:
        match node:
            case Wikilink():
                return self._link(node)
            case ExternalLink():
                if not node.brackets:
                    return str(node)
                return self._all(node.title).strip() or HOLE
            case Template():
                return self._template(node)
            case Argument():
                return HOLE
        return str(node)

    def _link(self, link: Wikilink) -> str:
        text = self._all(link.text)
        if text.strip():
            return text
        target = self._all(link.title).strip().lstrip(":")
        prefix, colon, rest = target.partition(":")
        if colon and prefix.strip().lower() in PROJECTS:
            target = rest.strip()
        if link.text is not None:  # [[Mercury (planet)|]]
            target = re.sub(r"\([^()]*\)$", "", target).strip()
        return target

    def _template(self, template: Template) -> str:
        name = str(template.name)
        if "{" in name or "[" in name:
            name = self._all(template.name)
        return self._expanded(
            name,
            [
                (str(parameter.name) if parameter.showkey else "", self._all(parameter.value))
                for parameter in template.params
            ],
        )

    def _expanded(self, name: str, parameters: list[tuple[str, str]]) -> str:
        """The text of a template; `parameters` are names, empty for those without one, and values."""
        name = name.replace(HOLE, "").strip()
        expand = expansion(name, self._language)
        if isinstance(expand, str):
            return expand
        positional, named = [], {}
        name, colon, argument = bare_name(name).partition(":")
        if colon:
            positional.append(argument.strip())
        for key, value in parameters:
            key, value = key.strip(), value.strip()
            if not key or key == str(len(positional) + 1):
                positional.append(value)
            else:
                named[key.lower()] = value
        return expand(TemplateCall(name, positional, named, self._words, self._title)) or HOLE
