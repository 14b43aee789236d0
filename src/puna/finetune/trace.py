"""The examples in the batch of a step of a run of tuning, found again from the run's own files."""

from collections.abc import Iterator
from typing import NamedTuple

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.files import sha256_json
from puna.core.layout import RunDir
from puna.finetune.plan import Plan
from puna.finetune.token_files import Examples, read_manifest
from puna.shards.split import TRAIN
from puna.tokenizer.chat_template import read_chat_template

ANSWERS = ("chosen", "rejected")
"""Of a pair, which answer a document has."""


class Traced(NamedTuple):
    """A document of a batch."""

    sequence: int
    """The number of its sequence in the order of the run."""
    source: str
    example: str
    """The id of its example in the source: the file, `#`, and the number of the row."""
    answer: str
    """Of a pair, one of `ANSWERS`; else empty."""
    first: int
    """Its first position in the sequence."""
    count: int
    """How many positions it takes."""
    learned: int
    """How many of its tokens are learned."""


def trace(run: RunDir, recipe: Recipe, batch: int, trained_on: str) -> Iterator[Traced]:
    """The documents of a batch, sequence by sequence.

    Args:
        run: The run, which has its examples with it.
        recipe: Of the run, with the length that it has.
        batch: The number of the batch in the order of the run.
        trained_on: The fingerprint of the run's data; empty where nothing says it yet.

    Raises:
        DataError: The examples are missing, damaged, or not those that the run was trained on.
    """
    settings = read_manifest(run.examples).settings
    found = sha256_json([settings["data"], read_chat_template(run.tokenizer), settings["tokenizer"]])
    if trained_on not in ("", found):
        raise DataError(f"{run.examples}: holds other examples than {run} was trained on")
    examples = Examples.open(run.examples, TRAIN, list(recipe.mixture), verify=True)
    rows = recipe.train.batch_tokens // recipe.model.context
    for sequence, pack in enumerate(Plan(examples, recipe).packs(batch * rows, rows), start=batch * rows):
        first = 0
        for example, source, documents in zip(pack.tolist(), examples.source(pack), examples.read(pack), strict=True):
            for number, document in enumerate(documents):
                yield Traced(
                    sequence, examples.names[int(source)], examples.id(example),
                    ANSWERS[number] if examples.width > 1 else "", first, document.positions,
                    int(document.learned.sum()),
                )  # fmt: skip
                first += document.positions
