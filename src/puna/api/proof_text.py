"""The text that `puna export` runs a model on: the user's, else held-out text of the run's data, else Python's own."""

from pathlib import Path
from typing import TYPE_CHECKING

from puna.core.errors import DataError
from puna.core.files import read_text
from puna.core.layout import DataDir, RunDir

if TYPE_CHECKING:
    from puna.formats.proof.equivalence import Text

_CHARACTERS = 20_000
"""Characters: as many as the proof's 1,024 tokens can ever need, more than most documents have."""


def proof_text(source: Path, given: Path | None) -> "Text":
    """The text, and its origin.

    Args:
        source: The run or model that is exported.
        given: The user's file.

    Raises:
        DataError: The file cannot be read, is not UTF-8 text, or is empty.
    """
    from puna.formats.proof.equivalence import Text

    if given is not None:
        return Text(_read(given), str(given))
    return _heldout(RunDir(source)) or Text(_python_topics(), "the topics of Python's help(), not held out")


def _read(path: Path) -> str:
    text = read_text(path, DataError, most_characters=_CHARACTERS)
    if not text.strip():
        raise DataError(f"{path}: holds no text to run the model on")
    return text


def _heldout(run: RunDir) -> "Text | None":
    """The beginnings of the held-out documents of the run's data, if these still exist."""
    if not run.config.is_file():
        return None
    import json

    from puna.config.load import load_recipe
    from puna.data.documents import documents_of
    from puna.formats.proof.equivalence import Text

    recipe = load_recipe(str(run.config)).recipe
    data = DataDir(Path("data") / recipe.name)
    try:
        same = json.loads(data.card.read_bytes()) == json.loads(run.data_card.read_bytes())
    except (OSError, ValueError):
        return None
    if not same:
        return None
    share = _CHARACTERS // len(recipe.mixture)
    parts = []
    for name in recipe.mixture:
        document = next(documents_of(data, name, "heldout"), None)
        parts.append("" if document is None else document.text[:share])
    return Text("\n\n".join(parts), f"held-out documents of {data.root}") if any(parts) else None


def _python_topics() -> str:
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))[:_CHARACTERS]
