"""The data card's facts about a build, the same for every run: from records, reports and token shards."""

import platform
from collections import Counter
from typing import Any

import numpy as np

from puna.config.paths import beside
from puna.config.recipe import Recipe
from puna.config.rules import DedupConfig
from puna.config.section import Section
from puna.core.files import sha256_json
from puna.core.layout import DataDir
from puna.core.records import commit
from puna.core.schema.card import SCHEMA, CardFacts
from puna.core.schema.part import parse
from puna.core.version import VERSION
from puna.data.card.learned import learned_from
from puna.data.card.lost import kinds_lost, lost_of
from puna.data.card.near import near_groups
from puna.data.card.steps import dropped_documents, duplicates, largest, steps_of, years
from puna.data.document_files import read_lines
from puna.data.documents import documents_files
from puna.data.reasons import explain
from puna.data.table import DECONTAMINATE, rule_settings
from puna.data.tasks.counts import NOT_STATED, NOT_TOLD, Counts
from puna.shards.shards import TokenShards
from puna.shards.split import HELDOUT, TRAIN
from puna.tokenizer.tokenizer import Tokenizer

PAPER = {
    "common_crawl": {"share": 0.67, "epochs": 1.10},
    "c4": {"share": 0.15, "epochs": 1.06},
    "github": {"share": 0.045, "epochs": 0.64},
    "wikipedia": {"share": 0.045, "epochs": 2.45},
    "books": {"share": 0.045, "epochs": 2.23},
    "arxiv": {"share": 0.025, "epochs": 1.06},
    "stackexchange": {"share": 0.02, "epochs": 1.03},
}
"""LLaMA's mixture by our names of its sources (Touvron et al. 2023, table 1; epochs at 1.4T tokens)."""

_READ_TOKENS = 1 << 22


def make_card(recipe: Recipe, out: DataDir, documents: dict[str, Any], tokenizer: Tokenizer | None) -> CardFacts:
    """What the card says of the build, without what depends on a run.

    Args:
        recipe: The recipe of the build.
        out: The build's directory.
        documents: The record of its documents.
        tokenizer: The tokenizer that the shards were written with; None for examples, which have none.

    Raises:
        DataError: Documents or shards are missing or damaged, or shards are of another tokenizer.
    """
    shards = _Shards(out, tokenizer) if tokenizer else None
    sources = [_source(name, recipe, out, documents, shards) for name in recipe.data.sources]
    used = dict.fromkeys(rule for source in recipe.data.sources.values() for rule in source.clean)
    reasons = sorted({reason for source in sources for reason in [*source["dropped"], *kinds_lost(source["lost"])]})
    facts = {
        "schema": SCHEMA,
        "tokenizer": tokenizer
        and {name: getattr(tokenizer, name) for name in ("kind", "vocab_size", "sha256")} | {"text": learned_from(out)},
        "sources": sources,
        "rules": {rule: _thresholds(rule_settings(recipe.data, rule)) for rule in used},
        "dedup": recipe.data.dedup.model_dump(),
        "reasons": {reason: explain(reason) for reason in reasons},
        "build": {
            "started": documents["started"],
            "puna": VERSION,
            "commit": commit(),
            "python": platform.python_version(),
            "packages": documents["packages"],
            "recipe_sha256": sha256_json(beside(recipe.model_dump(mode="json"), out.root)),
            "files_sha256": documents["inputs"].get("files", ""),
            "documents_sha256": sha256_json(documents["outputs"]),
            "max_document_bytes": recipe.data.max_document_bytes,
            "keep_dropped": recipe.data.keep_dropped,
            "most_lost": recipe.data.most_lost,
        },
    }
    return parse(CardFacts, facts, str(out.card))


class _Shards:
    """The token shards of a build and what their tokenizer's tokens are."""

    def __init__(self, out: DataDir, tokenizer: Tokenizer) -> None:
        self._out, self._tokenizer = out, tokenizer
        self._lengths = np.array([len(text) for text in tokenizer.token_bytes()], dtype=np.int64)

    def of(self, source: str) -> dict[str, Any]:
        """The figures that token shards of a source tell."""
        train, heldout = (
            TokenShards.open(self._out.shards / source / split, tokenizer_sha256=self._tokenizer.sha256)
            for split in (TRAIN, HELDOUT)
        )
        return {
            "splits": {TRAIN: _counts(train), HELDOUT: _counts(heldout)},
            "unigram_bits_per_byte": unigram_bits_per_byte(train, heldout, self._lengths),
        }


def _examples(counts: Counts) -> dict[str, Any]:
    """The figures of a source of examples in place of those of shards."""
    no_tokens = {"tokens": None, "bytes_per_token": None}
    return {
        "splits": {split: counts[split] | no_tokens for split in (TRAIN, HELDOUT)},
        "unigram_bits_per_byte": None,
        "examples": {name: counts.get("examples", {}).get(name, 0) for name in ("turns", "answers", "pairs")}
        | {"tasks": largest(counts.get("tasks", {}), NOT_TOLD)},
    }


def _source(
    name: str, recipe: Recipe, out: DataDir, documents: dict[str, Any], shards: _Shards | None
) -> dict[str, Any]:
    source, counts = recipe.data.sources[name], documents["results"][name]
    return {
        "name": name,
        "licence": source.licence,
        "version": documents["inputs"][name],
        "format": source.format,
        "clean": source.clean,
        "steps": steps_of(source, counts),
        "dropped": dropped_documents(counts),
        "lost": lost_of(source, counts),
        "duplicates": duplicates(name, recipe.data.dedup, counts),
        "near_groups": near_groups(counts.get("near", {})) if name in recipe.data.dedup.near.sources else None,
        "evaluation_sets": _evaluation_sets(name, source.clean, recipe, out, counts.get("evaluation_sets", {})),
        "languages": largest(counts.get("languages", {}), NOT_TOLD),
        "licences": largest(counts.get("licences", {}), NOT_STATED),
        "years": years(counts.get("years", {})),
        "paper": PAPER.get(name),
    } | (shards.of(name) if shards else _examples(counts))


def _counts(shards: TokenShards) -> Counts:
    return {
        "documents": shards.documents,
        "bytes": shards.text_bytes,
        "tokens": shards.tokens,
        "bytes_per_token": shards.text_bytes / shards.tokens,
    }


def _thresholds(section: Section | DedupConfig) -> dict[str, Any]:
    """A rule for people: what it is, and each threshold with its meaning, as the recipe's schema describes them."""
    fields = type(section).model_fields
    return {
        "about": " ".join((type(section).__doc__ or "").split()),
        "thresholds": [
            {"name": name, "value": value, "meaning": " ".join((fields[name].description or "").split())}
            for name, value in section.model_dump().items()
        ],
    }


def _evaluation_sets(
    name: str, clean: list[str], recipe: Recipe, out: DataDir, sizes: Counts
) -> dict[str, Counts] | None:
    """For each evaluation set, how many documents of the source and rows of the set overlap; None if not compared.

    Args:
        name: The name of the source.
        clean: Its rules.
        recipe: The recipe of the build.
        out: The build's directory.
        sizes: For each set, its rows, those that were compared, and the hashes of its files.
    """
    if DECONTAMINATE not in clean:
        return None
    sets = [*sizes] or [*recipe.data.rules.decontaminate.sets]
    documents: Counter[str] = Counter()
    rows: dict[str, set[tuple[str, int]]] = {name: set() for name in sets}
    for file in documents_files(out, name, "report"):
        last: tuple[str, set[str]] = ("", set())
        for row in read_lines(out.documents / file.path):
            if "set" not in row:  # that of another rule
                continue
            # All findings about a document are in consecutive lines.
            if row["id"] != last[0]:
                last = (row["id"], set())
            documents[row["set"]] += row["set"] not in last[1]
            last[1].add(row["set"])
            rows.setdefault(row["set"], set()).add((row["file"], row["row"]))
    nothing: Counts = {"rows": 0, "compared": 0, "whole": 0}
    return {
        name: {"documents": documents[name], "rows": len(found), "of": size["rows"]}
        | {key: size[key] for key in ("compared", "whole")}
        | {"sha256": size.get("sha256", {})}
        for name, found in rows.items()
        for size in (nothing | sizes.get(name, {}),)
    }


def unigram_bits_per_byte(train: TokenShards, heldout: TokenShards, lengths: np.ndarray) -> float:
    """Bits per byte of the held-out text under the training text's token frequencies; a model must do better.

    Frequencies are smoothed by adding one. As in validation, EOS is counted, and BOS is not unless it is also EOS.
    """
    frequencies = _histogram(train, len(lengths)).astype(np.float64) + 1
    if train.bos_id != train.eos_id:
        frequencies[train.bos_id] = 0
    observed = _histogram(heldout, len(lengths))
    if heldout.bos_id != heldout.eos_id:
        observed[heldout.bos_id] = 0
    bits = -np.log2(frequencies / frequencies.sum(), where=frequencies > 0, out=np.zeros_like(frequencies))
    return float((observed * bits).sum() / heldout.text_bytes)


def _histogram(shards: TokenShards, vocab_size: int) -> np.ndarray:
    counts = np.zeros(vocab_size, dtype=np.int64)
    for start in range(0, shards.tokens, _READ_TOKENS):
        part = shards.read(start, min(_READ_TOKENS, shards.tokens - start))
        counts += np.bincount(part, minlength=vocab_size)
    return counts
