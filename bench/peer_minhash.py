"""One system's MinHash signatures in a process and on a core of its own, for bench/minhash.py.

Only what the system needs is imported, so that this runs with a Python that has nothing else. What is timed begins with
texts in memory and ends with all signatures there. Each system splits the text in its own way; the texts of the pairs
are such that all ways are one: ASCII letters in lower case, single spaces.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

NGRAM, HASHES = 5, 112
Signatures = Callable[[list[str]], Sequence[Sequence[int]]]


def puna() -> tuple[Signatures, str]:
    """Puna's signatures."""
    from puna import __version__
    from puna.data.dedup.minhash import signature

    return lambda texts: [signature(text, NGRAM, HASHES) for text in texts], __version__


def word_ngrams(text: str) -> list[str]:
    """What rensa's users hand to it."""
    words = text.split()
    return [" ".join(words[at : at + NGRAM]) for at in range(max(1, len(words) - NGRAM + 1))]


def rensa(kind: str) -> tuple[Signatures, str]:
    """Signatures by rensa of n-grams made by `str.split`."""
    from importlib.metadata import version

    import rensa as package

    def sign(texts: list[str]) -> list[Sequence[int]]:
        found = []
        for text in texts:
            minhash = getattr(package, kind)(num_perm=HASHES, seed=42)
            minhash.update(word_ngrams(text))
            found.append(minhash.digest())
        return found

    return sign, version("rensa")


def daft() -> tuple[Signatures, str]:
    """Daft's signatures of its normalised text, by its own engine."""
    import daft as package
    from daft.functions import minhash, normalize

    def sign(texts: list[str]) -> list[Sequence[int]]:
        clean = normalize(package.col("text"), remove_punct=True, lowercase=True, nfd_unicode=True, white_space=True)
        column = minhash(clean, num_hashes=HASHES, ngram_size=NGRAM).alias("found")
        return package.from_pydict({"text": texts}).select(column).collect().to_arrow().column("found")

    return sign, package.__version__


SYSTEMS: dict[str, Callable[[], tuple[Signatures, str]]] = {
    "puna": puna,
    "rensa RMinHash": lambda: rensa("RMinHash"),
    "rensa CMinHash": lambda: rensa("CMinHash"),
    "daft": daft,
}


def main() -> None:
    """Print the figures of one system as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("corpus", type=Path, help="JSON lines, each a text")
    parser.add_argument("pairs", type=Path, help="JSON lines: text, other text, Jaccard similarity")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sign, version = SYSTEMS[arguments.system]()
    with arguments.corpus.open(encoding="utf-8") as file:
        texts = [json.loads(line) for line in file]
    size = sum(len(text.encode()) for text in texts)
    sign(texts[:50])
    cpu, wall = time.process_time(), time.perf_counter()
    signatures = sign(texts)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if len(signatures) != len(texts):
        sys.exit("a text has no signature")
    result: dict[str, Any] = {
        "version": version, "bytes": size, "documents": len(texts), "cpu_seconds": cpu, "wall_seconds": wall,
    }  # fmt: skip
    if arguments.system.startswith("rensa"):
        cpu = time.process_time()
        for text in texts:
            word_ngrams(text)
        result["ngrams_cpu_seconds"] = time.process_time() - cpu
    with arguments.pairs.open(encoding="utf-8") as file:
        pairs = [json.loads(line) for line in file]
    ones, others = (listed(sign([pair[place] for pair in pairs])) for place in (0, 1))
    result["estimates"] = [
        sum(a == b for a, b in zip(one, other, strict=True)) / HASHES for one, other in zip(ones, others, strict=True)
    ]
    print(json.dumps(result))


def listed(signatures: Any) -> list[list[int]]:
    """Signatures as lists of numbers."""
    if hasattr(signatures, "to_pylist"):
        return signatures.to_pylist()
    return [list(map(int, signature)) for signature in signatures]


if __name__ == "__main__":
    main()
