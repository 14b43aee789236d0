"""The data card: what is in a build, what was dropped and why, and how the recipe's run will use it."""

from typing import Any

import numpy as np

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.files import sha256_file, sha256_json, write_json, write_text
from puna.core.layout import DataDir
from puna.core.records import Record, read_record
from puna.core.units import format_bytes, format_count
from puna.data.documents import HELDOUT, TRAIN
from puna.data.shards import MANIFEST, TokenShards
from puna.tokenizer.tokenizer import Tokenizer

SCHEMA = 1

MANY_EPOCHS = 4
"""Repeating data up to four times costs next to nothing; more is worth less (Muennighoff et al. 2023, figure 1)."""

_READ_TOKENS = 1 << 22


def finish_build(recipe: Recipe, out: DataDir) -> None:
    """Write card.json, card.md and the build's record.

    Raises:
        DataError: Documents or shards are missing.
    """
    documents = read_record(out.documents / "record.json")
    if documents is None:
        raise DataError(f"{out.documents}: no documents are here")
    tokenizer = Tokenizer.load(out.tokenizer)
    card = make_card(recipe, out, documents, tokenizer)
    write_json(out.card, card)
    write_text(out.card.with_suffix(".md"), markdown(card))
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
    share_total = sum(recipe.mixture.values())
    lengths = np.array([len(text) for text in tokenizer.token_bytes()], dtype=np.int64)
    sources = []
    for name, source in recipe.data.sources.items():
        splits = {split: TokenShards.open(out.shards / name / split) for split in (TRAIN, HELDOUT)}
        share = recipe.mixture[name] / share_total
        run_tokens = share * recipe.train.tokens
        sources.append(
            {
                "name": name,
                "licence": source.licence,
                "version": documents["inputs"][name],
                "share": share,
                "run_tokens": run_tokens,
                "epochs": run_tokens / splits[TRAIN].tokens,
                "splits": {split: _counts(shards) for split, shards in splits.items()},
                "dropped": documents["results"][name]["dropped"],
                "unigram_bits_per_byte": unigram_bits_per_byte(splits[TRAIN], splits[HELDOUT], lengths),
            }
        )
    return {
        "schema": SCHEMA,
        "name": recipe.name,
        "description": recipe.description,
        "tokenizer": {"vocab_size": tokenizer.vocab_size, "sha256": tokenizer.sha256},
        "sources": sources,
    }


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
    lines += [
        "| source | version | licence | split | documents | text | tokens | bytes per token |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for source in card["sources"]:
        for split, counts in source["splits"].items():
            lines.append(
                f"| {source['name']} | {source['version']} | {source['licence'] or 'not stated'} | {split} "
                f"| {counts['documents']:,} | {format_bytes(counts['bytes'])} | {counts['tokens']:,} "
                f"| {counts['bytes_per_token']:.2f} |"
            )
    lines += ["", "## Mixture", "", "| source | share | tokens in the run | epochs |", "|---|---:|---:|---:|"]
    for source in card["sources"]:
        many = " (many)" if source["epochs"] > MANY_EPOCHS else ""
        lines.append(
            f"| {source['name']} | {source['share']:.1%} | {format_count(source['run_tokens'])} "
            f"| {source['epochs']:.2f}{many} |"
        )
    lines += ["", "## Dropped documents", "", "| source | reason | documents |", "|---|---|---:|"]
    dropped = [(s["name"], reason, count) for s in card["sources"] for reason, count in sorted(s["dropped"].items())]
    lines += [f"| {name} | {reason} | {count:,} |" for name, reason, count in dropped] or ["| | none | 0 |"]
    lines += ["", "`documents/dropped.jsonl` names each one.", "", "## Tokenizer", ""]
    lines.append(
        f"SentencePiece BPE, {card['tokenizer']['vocab_size']:,} tokens, SHA-256 {card['tokenizer']['sha256']}."
    )
    return "\n".join(lines) + "\n"
