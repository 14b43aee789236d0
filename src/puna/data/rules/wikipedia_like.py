"""The rule `wikipedia-like`: pages like those that Wikipedia refers to (LLaMA, section 2.1)."""

from dataclasses import replace
from pathlib import Path

from puna.config.rules import ClassifierRules
from puna.core.errors import DataError
from puna.data.document import Document, Dropped
from puna.data.models.classifier import MODEL, WIKIPEDIA, probability
from puna.data.models.fasttext_model import FastTextModel
from puna.data.spec import RuleSpec

UNLIKE = "wikipedia-like.unlike"

REASONS = {UNLIKE: "Unlike pages that Wikipedia refers to, to a linear classifier (LLaMA, section 2.1)."}


class WikipediaLike:
    """Notes the probability that Wikipedia would refer to a document; keeps documents above a threshold.

    Args:
        rules: The model, a file or the directory that `puna data train-classifier` made, and the threshold.

    Raises:
        DataError: There is no model, it is damaged, or has no label `wikipedia`.
    """

    def __init__(self, rules: ClassifierRules) -> None:
        path = Path(rules.model).expanduser()
        self._threshold = rules.threshold
        self._model = FastTextModel(path / MODEL if path.is_dir() else path)
        if WIKIPEDIA not in self._model.labels:
            raise DataError(
                f"{self._model.path}: has no label {WIKIPEDIA!r}, its labels are {', '.join(self._model.labels[:10])}",
                hint="make it with puna data train-classifier",
            )

    @property
    def files(self) -> list[Path]:
        """The files that determine the result."""
        return [self._model.path]

    def __call__(self, document: Document) -> Document | Dropped:
        """The document with its probability, or the reason to drop it."""
        found = probability(self._model, document.text)
        if found < self._threshold:
            detail = f"probability {found:.3f}, at least {self._threshold}"
            return Dropped(document.source, document.id, UNLIKE, detail, document.text)
        return replace(document, scores=document.scores | {"wikipedia_like": round(found, 4)})


RULE = RuleSpec(
    name="wikipedia-like",
    settings=ClassifierRules,
    make=WikipediaLike,
    does="keeps pages like those that Wikipedia refers to",
    after="LLaMA, section 2.1",
    reasons=REASONS,
)
