"""The data card: what is in a build, what was dropped and why, and how the recipe's run will use it."""

import json
from typing import Any

import numpy as np

from puna.config.load import save_recipe
from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.files import sha256_file, sha256_json, write_json, write_text
from puna.core.layout import DataDir
from puna.core.records import Record, read_record
from puna.core.units import format_bytes, format_count
from puna.data.documents import HELDOUT, TRAIN
from puna.data.shard_format import MANIFEST, REBUILD
from puna.data.shards import TokenShards
from puna.tokenizer.tokenizer import Tokenizer

SCHEMA = 1

MANY_EPOCHS = 4
"""Repeating data up to four times costs next to nothing; more is worth less (Muennighoff et al. 2023, figure 1)."""

_READ_TOKENS = 1 << 22


def finish_build(recipe: Recipe, out: DataDir) -> None:
    """Write card.json, card.md, config.toml and, last of all, the build's record.

    Raises:
        DataError: Documents or shards are missing or damaged, or shards are of another tokenizer.
        TokenizerError: The tokenizer is missing or damaged.
        StorageError: The disk is full or not writable.
    """
    documents = read_record(out.documents / "record.json")
    if documents is None:
        raise DataError(f"{out.documents}: no documents are here", hint=REBUILD)
    tokenizer = Tokenizer.load(out.tokenizer)
    card = make_card(recipe, out, documents, tokenizer)
    write_json(out.card, card)
    write_text(out.card.with_suffix(".md"), markdown(card))
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


def make_card(recipe: Recipe, out: DataDir, documents: dict[str, Any], tokenizer: Tokenizer) -> dict[str, Any]:
    """The card as plain data."""
    lengths = np.array([len(text) for text in tokenizer.token_bytes()], dtype=np.int64)
    sources = []
    for name, source in recipe.data.sources.items():
        splits = {
            split: TokenShards.open(out.shards / name / split, tokenizer_sha256=tokenizer.sha256)
            for split in (TRAIN, HELDOUT)
        }
        sources.append(
            {
                "name": name,
                "licence": source.licence,
                "version": documents["inputs"][name],
                "splits": {split: _counts(shards) for split, shards in splits.items()},
                "dropped": documents["results"][name]["dropped"],
                "unigram_bits_per_byte": unigram_bits_per_byte(splits[TRAIN], splits[HELDOUT], lengths),
            }
        )
    card = {
        "schema": SCHEMA,
        "name": recipe.name,
        "description": recipe.description,
        "tokenizer": {"vocab_size": tokenizer.vocab_size, "sha256": tokenizer.sha256},
        "sources": sources,
    }
    return with_mixture(card, recipe)


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
    """The card with the shares of a recipe, and how often its run will see each source.

    A build serves any mixture, so a run's card may say other shares than the build's.
    """
    planned = _planned_tokens(recipe)
    sources = []
    for source in card["sources"]:
        tokens = planned[source["name"]]
        share = tokens / recipe.train.tokens
        sources.append(
            source | {"share": share, "run_tokens": tokens, "epochs": tokens / source["splits"][TRAIN]["tokens"]}
        )
    return card | {"name": recipe.name, "description": recipe.description, "sources": sources}


def _planned_tokens(recipe: Recipe) -> dict[str, float]:
    """Tokens of each source in the whole run, by the shares of its stages."""
    stages = [(0, recipe.mixture), *((stage.from_tokens, stage.mixture) for stage in recipe.stages)]
    ends = [first for first, _ in stages[1:]] + [recipe.train.tokens]
    planned = dict.fromkeys(recipe.mixture, 0.0)
    for (first, mixture), end in zip(stages, ends, strict=True):
        for name, share in mixture.items():
            planned[name] += share / sum(mixture.values()) * (end - first)
    return planned


def _counts(shards: TokenShards) -> dict[str, Any]:
    return {
        "documents": shards.documents,
        "bytes": shards.text_bytes,
        "tokens": shards.tokens,
        "bytes_per_token": shards.text_bytes / shards.tokens,
    }


def unigram_bits_per_byte(train: TokenShards, heldout: TokenShards, lengths: np.ndarray) -> float:
    """Bits per byte of the held-out text under the training text's token frequencies: what a model must beat.

    Frequencies are smoothed by adding one. As in validation, </s> is counted and <s> is not.
    """
    frequencies = _histogram(train, len(lengths)).astype(np.float64) + 1
    frequencies[train.bos_id] = 0
    observed = _histogram(heldout, len(lengths))
    observed[heldout.bos_id] = 0
    bits = -np.log2(frequencies / frequencies.sum(), where=frequencies > 0, out=np.zeros_like(frequencies))
    return float((observed * bits).sum() / heldout.text_bytes)


def _histogram(shards: TokenShards, vocab_size: int) -> np.ndarray:
    counts = np.zeros(vocab_size, dtype=np.int64)
    for start in range(0, shards.tokens, _READ_TOKENS):
        part = shards.read(start, min(_READ_TOKENS, shards.tokens - start))
        counts += np.bincount(part, minlength=vocab_size)
    return counts


def markdown(card: dict[str, Any]) -> str:
    """The card for people."""
    lines = [f"# Data card: {card['name']}", "", card["description"], "", "## Sources", ""]
    lines += _table(
        4,
        ["source", "version", "licence", "split", "documents", "text", "tokens", "bytes per token"],
        [
            [
                source["name"], source["version"], source["licence"] or "not stated", split, counts["documents"],
                format_bytes(counts["bytes"]), counts["tokens"], f"{counts['bytes_per_token']:.2f}",
            ]
            for source in card["sources"]
            for split, counts in source["splits"].items()
        ],
    )  # fmt: skip
    lines += ["", "Tokens count `<s>` and `</s>` of each document.", "", "## Mixture", ""]
    lines += _table(
        1,
        ["source", "share", "tokens in the run", "epochs"],
        [
            [source["name"], f"{source['share']:.1%}", format_count(source["run_tokens"]), f"{source['epochs']:.2f}"]
            for source in card["sources"]
        ],
    )
    lines += _warnings(card)
    lines += ["", "## Dropped documents", ""]
    dropped = [[s["name"], reason, count] for s in card["sources"] for reason, count in sorted(s["dropped"].items())]
    lines += _table(2, ["source", "reason", "documents"], dropped) if dropped else ["None."]
    lines += ["", "`documents/dropped.jsonl` names each one.", "", "## Tokenizer", ""]
    lines.append(
        f"SentencePiece BPE, {card['tokenizer']['vocab_size']:,} tokens, SHA-256 {card['tokenizer']['sha256']}."
    )
    return "\n".join(lines) + "\n"


def _warnings(card: dict[str, Any]) -> list[str]:
    many = [source for source in card["sources"] if source["epochs"] > MANY_EPOCHS]
    return [
        f"\n**Warning:** {source['name']} is repeated {source['epochs']:.1f} times; beyond {MANY_EPOCHS} times, "
        "repeated text is worth clearly less than new text (Muennighoff et al. 2023)."
        for source in many
    ]


def _table(labels: int, header: list[str], rows: list[list[str | int]]) -> list[str]:
    """A table in Markdown: so many columns of labels, then columns of figures, aligned to the right."""
    rule = "|---" * labels + "|---:" * (len(header) - labels) + "|"
    cells = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    return [_row(header), rule, *map(_row, cells)]


def _row(cells: list[str]) -> str:
    """A line of a table: whatever stands in a cell, it stays one cell."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
