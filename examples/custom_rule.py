"""A data build with a rule of one's own: of the texts in `texts/`, those of few paragraphs are dropped."""

from pathlib import Path

from puna.config.recipe import Recipe
from puna.config.section import Section
from puna.core.layout import DataDir
from puna.data.document import Document, Dropped, Rule
from puna.data.inspect import Inspection
from puna.data.spec import RuleSpec
from puna.data.stages.build import build_data
from puna.data.table import add_rule


class Settings(Section):
    """Texts that take their time."""

    fewest: int = 2
    """Fewest paragraphs."""


def paragraphs(settings: Settings) -> Rule:
    """The rule: drops documents of few paragraphs."""

    def judge(document: Document) -> Document | Dropped:
        few = document.text.count("\n\n") + 1 < settings.fewest
        return Dropped(document.source, document.id, "paragraphs.few") if few else document

    return judge


REASONS = {"paragraphs.few": "It has too few paragraphs."}
add_rule(RuleSpec(name="paragraphs", settings=Settings, make=paragraphs, does="drops short texts", reasons=REASONS))
if __name__ == "__main__":  # workers import this file too
    texts = {"path": "texts", "include": ["*.txt"], "clean": ["paragraphs"], "heldout_fraction": 0.3}
    data = {"sources": {"texts": texts}, "rules": {"paragraphs": {"fewest": 6}}}
    recipe = {"name": "long", "data": data, "mixture": {"texts": 1.0}, "model": {"vocab_size": 512}}
    build_data(Recipe.model_validate(recipe), out := DataDir(Path("data/long")), force=False)
    print(Inspection(out).reasons)
