"""The templates whose text is known, in the Wikipedias of LLaMA's 20 languages.

A template's own definition is in another page and may be a program, so it is not expanded; but without the words of
some sentences would have holes. `templates/` holds a table for each language, and one for all: patterns of text with
the names of the templates that have it, and the names of those that show nothing of a sentence, such as references.
Every other template leaves a `GAP`, and its place decides whether words are missing there (`wikitext_gaps`).

Names are compared as MediaWiki does, without a namespace, `subst:` and the like, with blanks for underscores, and also
without regard to capitals, since most names have redirects from such forms.
"""

import re
import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from puna.data.readers.wikitext_functions import FUNCTIONS
from puna.data.readers.wikitext_marks import GAP, HOLE
from puna.data.readers.wikitext_patterns import Expansion, Words, compile_pattern

LANGUAGES = (
    "bg", "ca", "cs", "da", "de", "en", "es", "fr", "hr", "hu", "it", "nl", "pl", "pt", "ro", "ru", "sl", "sr", "sv",
    "uk",
)  # fmt: skip
"""LLaMA, section 2.1."""
_FOLDER = Path(__file__).parent / "templates"
_PREFIX = re.compile(
    r"\s*:?\s*(?:(?:template|vorlage|modèle|plantilla|predefinição|sjabloon|mall|skabelon|szablon|šablona|шаблон|"
    r"predložak|šablon|sablon|format|tm|subst|safesubst|msg|raw|ers|verv|sust|sost|подст|підст|vložit|zam)\s*:\s*)+",
    re.IGNORECASE,
)
_SPACES = re.compile(r"[\s_]+")


class _Table:
    """The templates of a language."""

    def __init__(self, name: str) -> None:
        path = _FOLDER / f"{name}.toml"
        content: dict[str, Any] = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
        words = content.get("words", {})
        for key in ("months", "nominative"):
            if key in words:
                words[key] = tuple(words[key].split("|" if "|" in words[key] else None))
        self.words = Words(**words)
        self._text: dict[str, Expansion] = {}
        for pattern, names in content.get("text", {}).items():
            self._text |= dict.fromkeys(_names(names), compile_pattern(pattern, FUNCTIONS))
        self._like = [
            (re.compile(like, re.IGNORECASE), compile_pattern(pattern, FUNCTIONS))
            for like, pattern in content.get("like", {}).items()
        ]
        self._silent = frozenset(_names(content.get("silent", "")))
        self._silent_like = re.compile("|".join(content.get("silent_like", ["(?!)"])), re.IGNORECASE)

    def find(self, name: str, key: str) -> Expansion | str | None:
        """What stands for a template, by its name as written and in lower case; None if this table does not know."""
        if found := self._text.get(key):
            return found
        if key in self._silent:
            return HOLE
        for pattern, expansion in self._like:
            if pattern.fullmatch(name):
                return expansion
        return HOLE if self._silent_like.fullmatch(name) else None


def _names(text: str) -> list[str]:
    return [name.strip().lower() for line in text.split("\n") for name in line.split("|") if name.strip()]


@cache
def _table(name: str) -> _Table:
    return _Table(name)


def words_of(language: str) -> Words:
    """How a Wikipedia writes dates and numbers."""
    return _table(language if language in LANGUAGES else "all").words


def bare_name(name: str) -> str:
    """A template's name without a namespace, `subst:` and the like, and with single blanks."""
    name = _SPACES.sub(" ", name).strip()
    return _PREFIX.sub("", name, count=1).strip() if ":" in name else name


@lru_cache(maxsize=1 << 14)
def expansion(name: str, language: str) -> Expansion | str:
    """The function that makes a template's text; `HOLE` for one that shows no words, `GAP` for one that is not known.

    Args:
        name: The name as written between the braces, with a parser function's `:` and the part after it.
        language: The language of the Wikipedia.
    """
    name = bare_name(name)
    if not name:  # {{{an argument}}}, which only templates have
        return HOLE
    key = name.lower()
    tables = [_table(language), _table("all")] if language in LANGUAGES else [_table("all")]
    for known in (key, key[: key.find(":") + 1]):
        for table in tables:
            if known and (found := table.find(name if known == key else known, known)):
                return found
    return GAP
