"""Whether a model's training data was cleaned of the documents that a task asks about, by its provenance.

A data build compares its documents with evaluation sets where the recipe names them, and writes the hashes of their
files into the data card, of which each run has a copy. A benchmark's file is the same here and there, so an equal hash
means that these very rows were compared.
"""

from typing import Literal, TypeAlias

from puna.benchmarks.manifest import manifest
from puna.config.toml import read_toml
from puna.core.bounded import parse_json, read_bounded
from puna.core.errors import DataError, UserError
from puna.core.layout import RunDir
from puna.core.schema.card import DataCard, Overlap, SourceCard
from puna.core.schema.part import parse

Contamination: TypeAlias = Literal["decontaminated", "contaminated", "not compared", "unknown"]
"""`decontaminated`: all that the model was trained on was compared with the set, and no document with its text stayed;
`contaminated`: some stayed, because the recipe only reports them; `not compared`: a source was not compared with it, or
only with less than half of its rows, since the others are too short; `unknown`: nothing here says what the model was
trained on, or it was compared with files that may be this set."""

_MOST_CARD = 1 << 28
"""Bytes of a data card that are read."""


def contamination(run: RunDir | None, sha256: str) -> Contamination:
    """What is known of a model and the rows that it is asked about.

    Args:
        run: The run that has trained it; None for a model from elsewhere.
        sha256: Of the split's file.
    """
    card = None if run is None else _card(run)
    if card is None or not sha256:
        return "unknown"
    sources = [source for source in card.sources if source.share > 0]
    found = [_found(source, sha256) for source in sources]
    if all(found):
        dropped = any(row.name == "action" and row.value == "drop" for row in card.rules["decontaminate"].thresholds)
        stayed = 0 if dropped else sum(overlap.documents for overlaps in found for overlap in overlaps)
        return "contaminated" if stayed else "decontaminated"
    return "unknown" if any(_has_other_files(source) for source in sources) else "not compared"


def _found(source: SourceCard, sha256: str) -> list[Overlap]:
    """What a source has in common with the sets that have the file, if at least half their rows were compared."""
    return [
        overlap
        for overlap in (source.evaluation_sets or {}).values()
        if sha256 in overlap.sha256.values() and 2 * (overlap.compared + overlap.whole) >= overlap.of
    ]


def _has_other_files(source: SourceCard) -> bool:
    """Whether a source was compared with files that are not those of a benchmark, and so may be any."""
    known = {split.sha256 for entry in manifest().values() for split in entry.splits.values()}
    return any(
        not overlap.sha256 or not known.issuperset(overlap.sha256.values())
        for overlap in (source.evaluation_sets or {}).values()
    )


def _card(run: RunDir) -> DataCard | None:
    """The card of all that a run's model has learned from; None where there is none, or it began with another model."""
    try:
        if read_toml(run.config).get("train", {}).get("init_from") is not None:
            return None
        content = parse_json(read_bounded(run.data_card, _MOST_CARD, DataError), run.data_card, DataError)
        return parse(DataCard, content, str(run.data_card))
    except UserError:
        return None
