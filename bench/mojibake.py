"""Mojibake: precision and recall of the rule and of ftfy on a set of texts, and MB of text per second.

The set is tests/data/text/mojibake_texts.toml. Each spoilt text is judged as it is and as a reader gives it, without
what is invisible. `found` are those that are changed, `repaired` those that read as they were meant, `wrong` those
that should have stayed and did not. Speed is that of plain English, of French and Russian as they should be, and of
French that is spoilt.

    python bench/mojibake.py --ftfy /path/to/python

measures ftfy as well, in the environment of that Python (pip install ftfy==6.3.1). The record goes to bench/results/.
"""

# ruff: noqa: RUF001

import argparse
import json
import statistics
import subprocess
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.data.text.invisible import visible_text
from puna.data.text.mojibake import repaired

SET = Path(__file__).parents[1] / "tests" / "data" / "text" / "mojibake_texts.toml"
DOCUMENT_BYTES = 5000
DOCUMENTS = 200
FTFY = """
import json, sys, time
from ftfy import fix_encoding
texts, speeds, rounds = json.load(sys.stdin)
rates = {name: [] for name in speeds}
for _ in range(rounds):
    for name, documents in speeds.items():
        started = time.process_time()
        for text in documents:
            fix_encoding(text)
        rates[name].append(sum(len(text.encode()) for text in documents) / 1e6 / (time.process_time() - started))
json.dump([[fix_encoding(text) for text in texts], rates], sys.stdout)
"""


def spoilt(text: str, encodings: str) -> str:
    """A text whose UTF-8 was read in these encodings, one after the other."""
    for name in encodings.split():
        text = "".join(bytes([byte]).decode(name, "ignore") or chr(byte) for byte in text.encode())
    return text


def puna(text: str) -> str:
    """What the rule makes of a text."""
    found = repaired(text)
    return visible_text(found.text) if found else text


def documents(sentences: list[str]) -> list[str]:
    """Documents of some 5 KB, each of one sentence beyond ASCII after the other, no two alike."""
    found = []
    for number in range(DOCUMENTS):
        lines, size = [], 0
        while size < DOCUMENT_BYTES:
            lines.append(f"{number + len(lines)}. {sentences[(number + len(lines)) % len(sentences)]}")
            size += len(lines[-1].encode()) + 1
        found.append("\n".join(lines))
    return found


def speeds(spoilt_texts: list[list[str]]) -> dict[str, list[str]]:
    """Documents by their kind."""
    french = [spoilt_texts[0][0], "L’été… « à la française », dit-elle : « ça va ? »"]
    russian = [next(text for text, _ in spoilt_texts if "Привет" in text), "«Её» ещё нет, рёбра целы — всё хорошо."]
    return {
        "english": documents(["Plain English, nothing else: it's 5 o'clock, and all is well."]),
        "french": documents(french),
        "russian": documents(russian),
        "spoilt": [spoilt(text, "cp1252") for text in documents(french)],
    }


def scores(pairs: list[list[str]], whole: list[str], after: list[str]) -> dict[str, Any]:
    """Counts, precision and recall of what a detector has made of the spoilt texts, twice, and of the others."""
    count = len(pairs)
    raw, read, kept = after[:count], after[count : 2 * count], after[2 * count :]
    broken = [spoilt(*pair) for pair in pairs]
    found = sum(a != b for a, b in zip(raw, broken, strict=True))
    wrong = sum(a != b for a, b in zip(kept, whole, strict=True))
    return {
        "spoilt": count,
        "whole": len(whole),
        "found": found,
        "repaired": sum(a == text for a, (text, _) in zip(raw, pairs, strict=True)),
        "repaired_through_a_reader": sum(a == text for a, (text, _) in zip(read, pairs, strict=True)),
        "wrong": wrong,
        "precision": found / max(found + wrong, 1),
        "recall": found / count,
    }


def rates(judge: Callable[[str], object], texts: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """MB per CPU second by kind, in each round."""
    found: dict[str, list[float]] = {name: [] for name in texts}
    for _ in range(rounds):
        for name, some in texts.items():
            started = time.process_time()
            for text in some:
                judge(text)
            size = sum(len(text.encode()) for text in some)
            found[name].append(size / 1e6 / max(time.process_time() - started, 1e-9))
    return found


def spread(found: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, least and most."""
    return {
        name: {"median": statistics.median(values), "min_max": [min(values), max(values)]}
        for name, values in found.items()
    }


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ftfy", help="a Python that has ftfy")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    texts = tomllib.loads(SET.read_text("utf-8"))
    pairs, whole = texts["spoilt"], texts["whole"]
    broken = [spoilt(*pair) for pair in pairs]
    judged = broken + [visible_text(text) for text in broken] + whole
    kinds = speeds(pairs)
    results = {
        "puna": scores(pairs, whole, [puna(text) for text in judged])
        | {"mb_per_second": spread(rates(puna, kinds, arguments.rounds))}
    }
    if arguments.ftfy:
        job = json.dumps([judged, kinds, arguments.rounds])
        done = subprocess.run([arguments.ftfy, "-c", FTFY], input=job, capture_output=True, text=True, check=True)
        after, measured = json.loads(done.stdout)
        results["ftfy"] = scores(pairs, whole, after) | {"mb_per_second": spread(measured)}
    for name, result in results.items():
        print(name, json.dumps(result))
    record = {
        "schema": 1,
        "benchmark": "mojibake",
        "what": f"{len(pairs)} spoilt texts and {len(whole)} others; MB of UTF-8 per CPU second on one core",
        "command": f"python bench/mojibake.py --rounds {arguments.rounds}"
        + (" --ftfy PYTHON" if arguments.ftfy else ""),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "results": results,
    }
    out = arguments.out / f"mojibake_{datetime.now(UTC):%Y-%m-%d}.json"
    write_json(out, record)
    print(f"record: {out}")


if __name__ == "__main__":
    main()
