"""The rule `mojibake`: what it does with a document; tests/data/text/test_mojibake.py looks at the texts."""

# ruff: noqa: RUF001

import pickle

from puna.config.rules import MojibakeRules
from puna.data.document import Document, Dropped
from puna.data.rules.mojibake import MOJIBAKE, Mojibake

BROKEN = "TrÃ¨s bien, dit-elle: câ€™Ã©tait â€œnaÃ¯fâ€\x9d."


def test_a_repair_is_counted_and_reported_once():
    rule = pickle.loads(pickle.dumps(Mojibake(MojibakeRules())))
    found = rule(Document("web", "1", BROKEN, "", scores={"language": 0.9}))
    assert found.text == "Très bien, dit-elle: c’était “naïf”."
    assert found.scores == {"language": 0.9, "mojibake": 3.0}
    row = {"rule": "mojibake", "source": "web", "id": "1", "found": "3 words, read as cp1252"}
    assert (rule.report(), rule.report()) == ([row], [])


def test_a_drop_has_its_reason():
    rule = Mojibake(MojibakeRules(action="drop"))
    assert rule(Document("web", "1", BROKEN, "")) == Dropped("web", "1", MOJIBAKE, "3 words, read as cp1252", BROKEN)
    assert rule.report() == []


def test_other_documents_are_the_same_ones():
    for text in ("Plain.", "Très bien, “SÃO PAULO”.", "In UTF-8, read as Windows-1252, é is Ã©."):
        document = Document("web", "1", text, "")
        for rule in (Mojibake(MojibakeRules()), Mojibake(MojibakeRules(action="drop"))):
            assert rule(document) is document


def test_what_appears_by_the_repair_and_is_not_visible_goes():
    found = Mojibake(MojibakeRules())(Document("web", "1", "ï»¿Le cafÃ©Â\xadde\xa0lâ€™Ã©tÃ©", ""))
    assert isinstance(found, Document)
    assert found.text == "Le caféde l’été"
