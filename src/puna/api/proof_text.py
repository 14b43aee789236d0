"""The text that `puna export` runs a model on: the user's, else held-out text of the run's data, else Python's own."""

from pathlib import Path
from typing import TYPE_CHECKING

from puna.core.console import warn
from puna.core.errors import DataError
from puna.core.files import read_text
from puna.core.layout import DataDir, RunDir
from puna.core.records import read_record

if TYPE_CHECKING:
    from puna.config.recipe import Recipe
    from puna.formats.proof.equivalence import Text

_CHARACTERS = 20_000
"""Characters: as many as the proof's 1,024 tokens can ever need, more than most documents have."""

_TOPICS = "the topics of Python's help()"


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
    run = RunDir(source)
    if source.name == run.model.name and not run.config.is_file():
        run = RunDir(source.parent)
    if run.config.is_file():
        text, why = _heldout(run)
        if text is not None:
            return text
        warn(f"{why}; the proof takes {_TOPICS} instead, and --text names a text of yours")
    return Text(_python_topics(), f"{_TOPICS}, not held out")


def _read(path: Path) -> str:
    text = read_text(path, DataError, most_characters=_CHARACTERS)
    if not text.strip():
        raise DataError(f"{path}: holds no text to run the model on")
    return text


def _heldout(run: RunDir) -> "tuple[Text | None, str]":
    """The beginnings of the held-out documents of the run's data, else why they cannot be had.

    The data are those with the token shards that the run was trained on: a card may differ from the run's where the
    recipe's other values do.
    """
    from puna.config.load import load_recipe
    from puna.core.errors import UserError
    from puna.data.documents import documents_of
    from puna.formats.proof.equivalence import Text

    recipe = load_recipe(str(run.config)).recipe
    name = Path("data") / recipe.name
    # Where a run and its data lie side by side as they are made, it does not matter from where one works.
    beside = run.root.absolute().parent.parent / name
    places = [DataDir(place) for place in dict.fromkeys((name, beside)) if place.is_dir()]
    if not places:
        return None, f"there is no {name} with the held-out text of {run}"
    for data in places:
        try:
            if _fingerprint(recipe, data) != _trained_on(run):
                continue
            share = _CHARACTERS // len(recipe.mixture)
            parts = []
            for source in recipe.mixture:
                document = next(documents_of(data, source, "heldout"), None)
                parts.append("" if document is None else document.text[:share])
        except UserError:  # it is damaged, or of another version
            continue
        if any(parts):
            return Text("\n\n".join(parts), f"held-out documents of {data.root}"), ""
    return None, f"{places[0]} holds other data than {run} was trained on"


def _fingerprint(recipe: "Recipe", data: DataDir) -> str:
    """Of the sequences that the recipe makes of the data."""
    from puna.shards.loader import Loader
    from puna.shards.shards import TokenShards
    from puna.shards.split import TRAIN

    shards = {source: TokenShards.open(data.shards / source / TRAIN) for source in recipe.mixture}
    return Loader(shards, recipe).fingerprint


def _trained_on(run: RunDir) -> str:
    """The fingerprint of the data that a run was trained on, finished or not; empty where nothing says it."""
    from puna.core.schema.train_state import list_checkpoints, read_header

    record = read_record(run.record)
    if record is not None:
        return record["inputs"].get("data", "")
    checkpoints = list_checkpoints(run)
    return read_header(checkpoints[-1][1])[0].data_fingerprint if checkpoints else ""


def _python_topics() -> str:
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))[:_CHARACTERS]
