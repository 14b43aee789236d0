"""The rule `perplexity`: how similar a page is to Wikipedia (CCNet, Wenzek et al. 2020, section 3.3).

CCNet sorts the pages of a language by their perplexity under a language model of Wikipedia into head, middle and tail;
RedPajama keeps head and middle. The cut-offs between them come with the model.
"""

import math
from dataclasses import replace
from pathlib import Path

from puna.config.rules import PerplexityRules
from puna.core.errors import DataError
from puna.data.document import Document, Dropped
from puna.data.models.lm import LanguageModel
from puna.data.spec import RuleSpec

HEAD, MIDDLE, TAIL, NO_MODEL = "perplexity.head", "perplexity.middle", "perplexity.tail", "perplexity.no_model"

REASONS = {
    HEAD: "In the third most like Wikipedia, which the recipe does not keep (CCNet, section 3.3).",
    MIDDLE: "In the middle third by likeness to Wikipedia, which the recipe does not keep (CCNet, section 3.3).",
    TAIL: "In the third least like Wikipedia (CCNet, section 3.3; RedPajama keeps head and middle).",
    NO_MODEL: "There is no language model of its language (CCNet, section 3.3, has models of 48 languages).",
}

_PLACE = "{language}"


class Perplexity:
    """Notes a document's perplexity; keeps the thirds that the recipe names.

    Args:
        rules: The model's directory, with `{language}` in its name if there is one per language, and the thirds to
            keep.

    Raises:
        DataError: There is no model, or one is incomplete, or its cut-offs are of another kind of perplexity.
    """

    def __init__(self, rules: PerplexityRules) -> None:
        self._keep = rules.keep
        self._by_language = _PLACE in rules.model
        self._models = _models(rules.model)
        self._score = rules.score
        for model in self._models.values():
            if model.score not in (None, rules.score):
                raise DataError(
                    f"{model.cutoffs}: its cut-offs are of perplexities by {model.score!r}, but "
                    f"rules.perplexity.score = {rules.score!r}",
                    hint=f'set data.rules.perplexity.score = "{model.score}", or train it with --score {rules.score}',
                )

    @property
    def files(self) -> list[Path]:
        """The files that determine the result."""
        return [path for _, model in sorted(self._models.items()) for path in model.files]

    def __call__(self, document: Document) -> Document | Dropped:
        """The document with its perplexity, or the reason to drop it."""
        model = self._models.get(document.language if self._by_language else "")
        if model is None:
            detail = f"language {document.language!r}, models for {' '.join(sorted(self._models))}"
            return Dropped(document.source, document.id, NO_MODEL, detail, document.text)
        perplexity = model.perplexity_by(self._score)(document.text)
        bucket = model.bucket(perplexity)
        if bucket not in self._keep:
            detail = f"perplexity {perplexity:.1f}, head < {model.head:.1f}, middle < {model.middle:.1f}"
            return Dropped(document.source, document.id, f"perplexity.{bucket}", detail, document.text)
        measured = {"perplexity": round(perplexity, 2)} if math.isfinite(perplexity) else {}
        return replace(document, scores=document.scores | measured)


def _models(pattern: str) -> dict[str, LanguageModel]:
    """The models by language; a model for all languages has ''."""
    path = Path(pattern).expanduser()
    if _PLACE not in pattern:
        if not path.is_dir():
            raise DataError(
                f"rules.perplexity.model: there is no directory {pattern}", hint="make it with puna data train-lm"
            )
        return {"": LanguageModel(path)}
    if _PLACE not in path.name or path.name.count(_PLACE) > 1 or _PLACE in str(path.parent):
        raise DataError(f"rules.perplexity.model = {pattern!r}: {_PLACE} must stand once, in the last part of the path")
    before, after = path.name.split(_PLACE)
    found = {}
    for directory in sorted(path.parent.glob("*/")):
        name = directory.name
        if name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after):
            found[name[len(before) : len(name) - len(after)]] = LanguageModel(directory)
    if not found:
        raise DataError(
            f"rules.perplexity.model: there is no directory like {pattern}", hint="make them with puna data train-lm"
        )
    return found


RULE = RuleSpec(
    name="perplexity",
    settings=PerplexityRules,
    make=Perplexity,
    does="parts pages into head, middle and tail by a language model of Wikipedia",
    after="CCNet, section 3.3",
    reasons=REASONS,
)
