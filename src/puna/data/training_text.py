"""The text that a tokenizer is trained on: training documents in the mixture's shares."""

from collections.abc import Iterator

from puna.config.recipe import Recipe
from puna.core.layout import DataDir
from puna.data.documents import documents_of, documents_record
from puna.shards.split import TRAIN, hash_fraction


def training_text(recipe: Recipe, out: DataDir) -> Iterator[str]:
    """Training documents of all sources, each in proportion to its share of the mixture.

    A source's documents are chosen by a hash of their ids, so they come from all its files, until its part is reached.
    The source with the least text for its share sets the size, so the shares are kept; `tokenizer.train_bytes` is
    exceeded by at most one document of each source.

    Raises:
        DataError: The documents are missing or damaged.
    """
    results = documents_record(out)["results"]
    shares = {name: share / sum(recipe.mixture.values()) for name, share in recipe.mixture.items()}
    available = {name: results[name][TRAIN]["bytes"] for name in shares}
    total = min(recipe.tokenizer.train_bytes, *(available[name] / share for name, share in shares.items()))
    for name, share in shares.items():
        left = share * total
        fraction = left / available[name]
        for document in documents_of(out, name, TRAIN):
            if left > 0 and hash_fraction(f"tokenizer/{name}/{document.id}") < fraction:
                left -= len(document.text.encode())
                yield document.text
