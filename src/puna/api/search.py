"""Looks for texts in training data: the index of a build, and where a text or a model's words are from."""

import operator
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from puna.api.recipes import PathLike, data_source
from puna.core.errors import DataError
from puna.core.layout import DataDir, RunDir
from puna.core.reference import whole_run
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.search.build import Built
    from puna.search.found import Found
    from puna.search.trace import Traced


def index_data(data: PathLike, *, workers: int | None = None) -> "Built":
    """Make the index of a data build, in which `find` and `trace` look; what is there and whole is kept.

    It may be interrupted, even killed, and called again.

    Args:
        data: The build, or its URL in an object store, of which this machine then keeps tokens and index.
        workers: Processes at one time; None takes all cores, as far as there is memory for.

    Returns:
        How many shards have an index, of how many it was made now, tokens, and bytes on the disk.

    Raises:
        DataError: There is no such build, or it is damaged.
        StorageError: The disk is full or not writable.
    """
    from puna.search.build import build_index

    return build_index(_build(data), workers=workers)


def find(data: PathLike, text: "str | Sequence[int]", *, fold: bool = False, most: int = 10) -> "Found":
    """Where a data build has a text, exactly, however it is cut into tokens there.

    Args:
        data: The build, which `index_data` has given an index, or its URL.
        text: What is looked for, or the ids of its tokens, which are then found as these tokens only.
        fold: Whether upper and lower case are the same, by Unicode's full case folding.
        most: How many occurrences are described; all are counted.

    Returns:
        Counts by split and source, and the first occurrences with their documents.

    Raises:
        DataError: There is no build or no index, the index is damaged, or the text is empty.
    """
    from puna.search.found import found
    from puna.search.index import TextIndex

    index = TextIndex.open(_build(data))
    if not isinstance(text, str):
        if fold:
            raise DataError("ids of tokens have no upper and lower case")
        ids = [operator.index(token) for token in text]
        occurrences = index.find_ids(ids)
        return found(index, occurrences, sum(len(index.tokenizer.bytes_of(token)) for token in ids), most=most)
    occurrences = index.find(text, fold=fold)
    return found(index, occurrences, len(text.casefold() if fold else text.encode()), most=most, fold=fold)


def trace(
    run: PathLike,
    text: str,
    *,
    data: PathLike | None = None,
    spans: int = 10,
    documents: int = 3,
    words: int = 3,
) -> "Traced":
    """The spans of a text that the training data of a run have verbatim, and where they are from.

    Args:
        run: The run. Of one that was tuned, `data` names the build that its base has read, and no steps are given.
        text: What the model wrote, or any other text.
        data: The build that the run has read; None is the recipe's.
        spans: How many spans are described at most, the least likely first.
        documents: Occurrences of each that are described at most.
        words: A span has at least this many words.

    Returns:
        The spans with counts, documents, and the steps that learned from them.

    Raises:
        DataError: There is no index, it or the build is damaged, or the build is not the run's.
        CheckpointError: There is no such run.
    """
    from puna.config.load import load_recipe
    from puna.search.index import TextIndex
    from puna.search.reads import reads_of
    from puna.search.trace import trace_text

    directory = whole_run(user_path(run), f"puna trace {{}} {'TEXT'}")
    recipe = load_recipe(str(directory.config)).recipe
    tuned = recipe.finetune is not None
    if tuned and data is None:
        raise DataError(
            f"{directory}: was tuned, so its words are from the data of its base too",
            hint="name the data build of its base with --data-dir, or trace the base's run",
        )
    build = data_source(data, recipe)
    reads = None if tuned else reads_of(RunDir(directory.root), build)
    return trace_text(TextIndex.open(build), text, reads=reads, spans=spans, documents=documents, words=words)


def _build(data: PathLike) -> DataDir:
    if "://" in os.fspath(data):
        from puna.shards.remote import mirror

        return mirror(os.fspath(data))
    return DataDir(user_path(data))
