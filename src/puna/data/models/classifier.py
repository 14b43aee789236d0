"""A linear classifier that separates pages that Wikipedia refers to from random pages (LLaMA, section 2.1).

The paper trains "a linear model to classify pages used as references in Wikipedia v.s. randomly sampled pages", and
says no more. The rest is as in RedPajama v1: fastText with its defaults for classifiers (bags of words, 100
dimensions), pages cleaned like those that will be classified, as many random ones as references.

1. `wikipedia_references` lists the addresses; fetch the pages, from CommonCrawl where they are in it.
2. `train_classifier` makes `model.bin` and `record.json` from the pages' texts.
"""

import tempfile
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np

from puna.core.console import say
from puna.core.errors import DataError
from puna.core.files import atomic_directory, sha256_file
from puna.core.records import Record
from puna.data.models.fasttext_model import LABEL, FastTextModel, one_line

WIKIPEDIA, RANDOM = "wikipedia", "random"
MODEL = "model.bin"
DIMENSIONS = 100
"""Dimensions of the word vectors: fastText's default."""
THRESHOLDS = (0.25, 0.5)
"""Thresholds for precision and recall: RedPajama v1's, and that of the more probable label."""

_HELDOUT = 10
"""One text in this number is held out."""


def train_classifier(
    positive: Iterable[str], negative: Iterable[str], out: Path, *, seed: int = 0, min_count: int = 1
) -> dict[str, Any]:
    """Train the classifier and measure it on a tenth of the texts, which it has not seen.

    It trains in one thread, so that equal input gives equal bytes.

    Args:
        positive: Texts of pages that Wikipedia refers to.
        negative: Texts of random pages.
        out: The directory to make.
        seed: The seed of fastText's random numbers and of the choice of held-out texts.
        min_count: Fewest times that a word must occur (fastText: 1). A word takes 400 bytes of the model, which each
            task loads, and 900 of a temporary file.

    Returns:
        The figures of the record: texts of each label, held-out precision and recall by threshold.

    Raises:
        DataError: A label has no text to train on, or none to measure on.
    """
    record = Record("classifier", config={"seed": seed, "min_count": min_count, "heldout": f"1/{_HELDOUT}"})
    with tempfile.TemporaryDirectory() as name, atomic_directory(out, replace=True) as directory:
        train, heldout = Path(name) / "train.txt", Path(name) / "heldout.txt"
        figures = _write_texts({WIKIPEDIA: positive, RANDOM: negative}, train, heldout, seed)
        say(f"training on {figures['train'][WIKIPEDIA]:,} references and {figures['train'][RANDOM]:,} random pages")
        figures["words"] = _train(train, Path(name) / "vectors.txt", directory / MODEL, seed, min_count)
        figures["thresholds"] = measure(FastTextModel(directory / MODEL), heldout)
        record.inputs = {"train": sha256_file(train), "heldout": sha256_file(heldout)}
        record.outputs = {MODEL: sha256_file(directory / MODEL)}
        record.results = figures
        record.write(directory / "record.json")
    return figures


def _train(text: Path, vectors: Path, out: Path, seed: int, min_count: int) -> int:
    """Train on labelled lines and write the model; returns the number of its words.

    With fewer than ten threads fastText leaves most of its initial vectors uninitialised: other results each time,
    sometimes not numbers. So it gets the vectors from here, uniform as its own are meant to be.
    """
    import fasttext

    settings = {"input": str(text), "thread": 1, "seed": seed, "minCount": min_count, "verbose": 0}
    try:
        words = fasttext.train_supervised(epoch=0, **settings).get_words()
        _write_vectors(cast(list[str], words), vectors, seed)
        model = fasttext.train_supervised(pretrainedVectors=str(vectors), dim=DIMENSIONS, **settings)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"fastText could not train the classifier on these texts ({error})") from None
    model.save_model(str(out))
    return len(words)


def _write_vectors(words: list[str], path: Path, seed: int) -> None:
    """A vector for each word, uniform between -1/d and 1/d in d dimensions, as a text file that fastText reads."""
    steps = 1000
    numbers = np.array([f"{value / steps / DIMENSIONS:9.5f}" for value in range(-steps, steps + 1)], dtype="S9")
    random = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(f"{len(words)} {DIMENSIONS}\n".encode())
        for word in words:
            file.write(word.encode() + numbers[random.integers(0, 2 * steps + 1, DIMENSIONS)].tobytes() + b"\n")


def probability(model: FastTextModel, text: str) -> float:
    """The probability that Wikipedia would refer to a text; 0 if the model knows none of its words."""
    return dict(model.predict(text, 2)).get(WIKIPEDIA, 0.0)


def measure(model: FastTextModel, labelled: Path) -> dict[str, dict[str, float]]:
    """For each threshold, precision and recall of the references among the kept texts."""
    found: list[tuple[bool, float]] = []
    with labelled.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            label, _, text = line.rstrip("\n").partition(" ")
            found.append((label == LABEL + WIKIPEDIA, probability(model, text)))
    figures = {}
    for threshold in THRESHOLDS:
        kept = [truth for truth, value in found if value >= threshold]
        right, references = sum(kept), sum(truth for truth, _ in found)
        figures[f"{threshold}"] = {
            "precision": round(right / len(kept), 4) if kept else 0.0,
            "recall": round(right / references, 4),
        }
    return figures


def _write_texts(texts: dict[str, Iterable[str]], train: Path, heldout: Path, seed: int) -> dict[str, Any]:
    """Write fastText's input, with alternating labels: it learns line by line, and later lines count more."""
    counts = {"train": dict.fromkeys(texts, 0), "heldout": dict.fromkeys(texts, 0)}
    with _create(train) as training, _create(heldout) as measuring:
        files = {"train": training, "heldout": measuring}
        for label, text in _in_turn(texts):
            if line := one_line(text).strip():
                part = "heldout" if _is_heldout(line, seed) else "train"
                files[part].write(f"{LABEL}{label} {line}\n")
                counts[part][label] += 1
    for part, of_part in counts.items():
        for label, count in of_part.items():
            if not count:
                use = "train on" if part == "train" else "measure by"
                raise DataError(
                    f"the classifier has no text of label {label!r} to {use}",
                    hint=f"give more texts of both kinds; one in {_HELDOUT} is held out",
                )
    return counts


def _create(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", errors="replace", newline="\n")


def _in_turn(texts: dict[str, Iterable[str]]) -> Iterator[tuple[str, str]]:
    """Texts of the labels in turn; when one label has no more, the rest of the others."""
    streams = {label: iter(of_label) for label, of_label in texts.items()}
    while streams:
        for label in list(streams):
            try:
                yield label, next(streams[label])
            except StopIteration:
                del streams[label]


def _is_heldout(line: str, seed: int) -> bool:
    """Decided by the text itself, so that equal texts are never on both sides."""
    digest = blake2b(line.encode("utf-8", "replace"), digest_size=8, salt=seed.to_bytes(16, "little")).digest()
    return int.from_bytes(digest, "little") % _HELDOUT == 0
