"""The data card of a build: `card.json` for programs, `card.md` and `card.html` for people.

A build serves any mixture, so the part of the card about a run is made again for each recipe.
"""

import json
from typing import Any

from puna.config.load import save_recipe
from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.files import sha256_file, sha256_json, write_json, write_text
from puna.core.layout import DataDir
from puna.core.records import Record
from puna.shards.format import MANIFEST, REBUILD
from puna.shards.mixture import Mixture
from puna.shards.split import HELDOUT, TRAIN
from puna.tokenizer.load import load_tokenizer

SCHEMA = 2


def finish_build(recipe: Recipe, out: DataDir) -> None:
    """Write the card in its three forms, config.toml and, last of all, the build's record.

    Raises:
        DataError: Documents or shards are missing or damaged, or shards are of another tokenizer.
        TokenizerError: The tokenizer is missing or damaged.
        StorageError: The disk is full or not writable.
    """
    from puna.data.card.facts import make_card
    from puna.data.card.html import html
    from puna.data.card.markdown import markdown
    from puna.data.documents import documents_record

    documents = documents_record(out)
    tokenizer = load_tokenizer(out.tokenizer)
    card = with_mixture({"schema": SCHEMA} | make_card(recipe, out, documents, tokenizer), recipe)
    write_json(out.card, card)
    write_text(out.card.with_suffix(".md"), markdown(card))
    write_text(out.card.with_suffix(".html"), html(card))
    save_recipe(recipe, out.config)
    record = Record("data", config=recipe.data.model_dump())
    record.inputs = documents["inputs"] | {
        "documents": sha256_json(documents["outputs"]),
        "tokenizer": tokenizer.sha256,
    }
    record.outputs = {
        f"{source}/{split}/{MANIFEST}": sha256_file(out.shards / source / split / MANIFEST)
        for source in recipe.data.sources
        for split in (TRAIN, HELDOUT)
    }
    record.write(out.record)


def read_card(out: DataDir) -> dict[str, Any]:
    """The card of a finished build.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        card = json.loads(out.card.read_text(encoding="utf-8"))
        if card["schema"] != SCHEMA:
            raise DataError(
                f"{out.card}: card format {card['schema']}, this version of Puna reads {SCHEMA}", hint=REBUILD
            )
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{out.card}: is missing or damaged", hint=REBUILD) from None
    return card


def with_mixture(card: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The card with the shares of a recipe, and how often its run will read each source: as planned, and as built.

    Planned figures follow from the shares and the run's tokens. Built figures are those of the order of the data, in
    whole sequences: a source has as many as fit into its tokens.
    """
    planned = _planned_tokens(recipe)
    sequences, refused = _sequences(recipe)
    total = sum(sequences.values())
    sources = []
    for source in card["sources"]:
        name, tokens = source["name"], source["splits"][TRAIN]["tokens"]
        built = None
        if (in_epoch := (tokens - 1) // recipe.model.context) and total:
            built = {
                "share": sequences[name] / total,
                "tokens": sequences[name] * recipe.model.context,
                "epochs": sequences[name] / in_epoch,
            }
        sources.append(
            source
            | {
                "share": planned[name] / recipe.train.tokens,
                "run_tokens": planned[name],
                "epochs": planned[name] / tokens,
                "max_epochs": recipe.max_epochs.get(name),
                "built": built,
            }
        )
    run = {"tokens": recipe.train.tokens, "stages": len(recipe.stages) + 1, "refused": refused}
    return card | {"name": recipe.name, "description": recipe.description, "run": run, "sources": sources}


def _planned_tokens(recipe: Recipe) -> dict[str, float]:
    """Tokens of each source in the whole run, by the shares of its stages."""
    stages = [(0, recipe.mixture), *((stage.from_tokens, stage.mixture) for stage in recipe.stages)]
    ends = [first for first, _ in stages[1:]] + [recipe.train.tokens]
    planned = dict.fromkeys(recipe.mixture, 0.0)
    for (first, mixture), end in zip(stages, ends, strict=True):
        for name, share in mixture.items():
            planned[name] += share / sum(mixture.values()) * (end - first)
    return planned


def _sequences(recipe: Recipe) -> tuple[dict[str, int], str]:
    """Sequences of each source in the run's order; or none, and the reason why the order is refused."""
    context = recipe.model.context
    later = [(stage.from_tokens // context, stage.mixture) for stage in recipe.stages]
    try:
        mixture = Mixture(recipe.mixture, recipe.seed, later)
    except DataError as error:
        return dict.fromkeys(recipe.mixture, 0), error.message
    counts = mixture.counts(recipe.total_steps * recipe.train.batch_tokens // context)
    return dict(zip(recipe.mixture, counts.tolist(), strict=True)), ""
