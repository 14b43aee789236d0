"""The rule `mojibake`: text in UTF-8 that was read in another encoding (`cafÃ©`, `РїСЂРё`), once or several times.

None of the papers looks for it. How it is told and undone: `puna.data.text.mojibake`, and why not by ftfy:
docs/decisions/0019-mojibake.md. Name it before rules that look at words or languages. It is not for code, where such
strings are data.
"""

from dataclasses import replace
from typing import Any

from puna.config.rules import MojibakeRules
from puna.data.document import Document, Dropped
from puna.data.spec import RuleSpec
from puna.data.text.invisible import visible_text
from puna.data.text.mojibake import Repair, repaired

MOJIBAKE = "mojibake.found"
REASONS = {MOJIBAKE: "It is UTF-8 that was read in another encoding (mojibake), as its words show."}


class Mojibake:
    """Reads mojibake again, or drops it; how many words showed it is the document's score `mojibake`.

    Args:
        rules: What to do with it.
    """

    def __init__(self, rules: MojibakeRules) -> None:
        self._drop = rules.action == "drop"
        self._found: list[dict[str, Any]] = []

    def __call__(self, document: Document) -> Document | Dropped:
        """The document, repaired where it was mojibake, or the reason to drop it."""
        found = repaired(document.text)
        if found is None:
            return document
        if self._drop:
            return Dropped(document.source, document.id, MOJIBAKE, _detail(found), document.text)
        self._found.append({"rule": "mojibake", "source": document.source, "id": document.id, "found": _detail(found)})
        scores = document.scores | {"mojibake": float(found.words)}
        return replace(document, text=visible_text(found.text), scores=scores)

    def report(self) -> list[dict[str, Any]]:
        """Documents repaired since the last call: rule, source, id, how many words and from which encodings."""
        found, self._found = self._found, []
        return found


def _detail(found: Repair) -> str:
    return f"{found.words} words, read as {', then '.join(reversed(found.encodings))}"


RULE = RuleSpec(
    name="mojibake",
    settings=MojibakeRules,
    make=Mojibake,
    does="reads UTF-8 again that was read in another encoding, or drops it",
    changes="characters",
    reasons=REASONS,
)
