"""The text that a tokenizer is trained on: training documents in the mixture's shares."""

from collections.abc import Iterator

from puna.config.recipe import Recipe
from puna.core.layout import DataDir
from puna.data.documents import documents_of, documents_record
from puna.shards.split import TRAIN, hash_fraction


def training_text(recipe: Recipe, out: DataDir) -> Iterator[str]:
    """Training documents of all sources, as much of each as its share of the mixture asks for.

    A source's documents are chosen by a hash of their ids, so they come from all of it, until its part is reached. The
    source that is shortest for its share sets the size, so the shares are kept; `tokenizer.train_bytes` is exceeded by
    one document of each source at most.

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
