"""A supervised fastText model (Joulin et al. 2016) read from a file that has been checked.

fastText itself does not check a model file: a truncated one makes it read words for ever, until the memory is used up.
So the file's structure is checked first.
"""

import mmap
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from puna.core.errors import DataError

LABEL = "__label__"
"""Prefix of a label's name in a fastText file, and of a label in a line of training text."""

_MAGIC, _VERSIONS, _SUPERVISED = 793712314, (11, 12), 3
_QUANTIZED_CENTROIDS = 256
_RESERVED = re.compile(rf"(?<!\S)(?:{LABEL}\S*|</s>)(?!\S)")
"""Words that fastText reads as a label, or as the end of the text."""


class FastTextModel:
    """Gives the labels of a text with probabilities; the file is checked now and loaded at the first text.

    Args:
        path: The model's file, `.bin` or `.ftz`.

    Raises:
        DataError: The file is missing, not a supervised fastText model, or incomplete.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.labels = _labels(path)
        """Its labels, without their prefix, in the file's order."""
        self._model: Any = None

    def predict(self, text: str, count: int = 1) -> list[tuple[str, float]]:
        """The `count` most probable labels of a whole text with their probabilities, most probable first.

        None if the model knows none of its words. fastText's own probability may exceed 1 by a rounding error; here it
        does not.
        """
        if self._model is None:
            self._model = _load(self.path)
        found = self._model.predict(one_line(text) + "\n", count, 0.0, "strict")
        return [(label.removeprefix(LABEL), min(probability, 1.0)) for probability, label in found]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_model": None}


def one_line(text: str) -> str:
    """The text as one line of words for fastText, without words that it reads as labels or ends."""
    return _RESERVED.sub("", text.replace("\n", " ").replace("\0", " "))


def _load(path: Path) -> Any:
    # The module inside `fasttext`: the wrapper prints a warning for each model.
    import fasttext_pybind  # pyrefly: ignore[missing-import]

    model = fasttext_pybind.fasttext()
    try:
        model.loadModel(str(path))
    except (ValueError, RuntimeError) as error:
        raise DataError(f"{path}: fastText cannot load this model ({error})") from None
    return model


def _labels(path: Path) -> list[str]:
    """The labels of a model file, after its structure is checked from the first byte to the last."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Walk(content).labels()
    except OSError as error:
        raise DataError(f"{path}: the fastText model cannot be read ({error.strerror})") from None
    except (ValueError, struct.error) as error:
        detail = str(error) if type(error) is ValueError else "it is incomplete"
        raise DataError(f"{path}: is not a fastText model that can be used: {detail}") from None


class _Walk:
    """Goes through a model file (fastText 0.9, src/fasttext.cc, `FastText::loadModel`) without keeping its weights."""

    def __init__(self, content: Any) -> None:
        self._content, self._at = content, 0

    def labels(self) -> list[str]:
        if self._read("<ii")[0] != _MAGIC:
            raise ValueError("it does not begin as one does")
        self._at = 4
        (version,) = self._read("<i")
        if version not in _VERSIONS:
            raise ValueError(f"its format is version {version}, expected 11 or 12")
        settings = self._read("<12id")
        if settings[7] != _SUPERVISED:
            raise ValueError("it is a model of words, not a classifier")
        labels = self._dictionary()
        quantized = self._flag()
        self._matrix(quantized)
        self._matrix(self._flag() and quantized)
        if self._at != len(self._content):
            raise ValueError("something follows its end")
        if not labels:
            raise ValueError("it has no labels")
        return labels

    def _dictionary(self) -> list[str]:
        entries, _, n_labels, _, pruned = self._read("<iiiqq")
        if entries < 0 or n_labels < 0:
            raise ValueError("its dictionary is damaged")
        labels = []
        for _ in range(entries):
            end = self._content.find(b"\0", self._at)
            if end < 0:
                raise ValueError("its dictionary is incomplete")
            begin, self._at = self._at, end + 1
            _, kind = self._read("<qb")
            if kind:
                labels.append(self._content[begin:end].decode("utf-8", "replace").removeprefix(LABEL))
        if len(labels) != n_labels:
            raise ValueError("its dictionary is damaged")
        self._skip(8 * max(pruned, 0))
        return labels

    def _matrix(self, quantized: bool) -> None:
        if not quantized:
            rows, columns = self._read("<qq")
            return self._skip(self._product(rows, columns, 4))
        norms = self._flag()
        rows, _, codes = self._read("<qqi")
        self._skip(codes)
        self._centroids()
        if norms:
            self._skip(rows)
            self._centroids()
        return None

    def _centroids(self) -> None:
        dim, *_ = self._read("<4i")
        self._skip(self._product(dim, _QUANTIZED_CENTROIDS, 4))

    def _product(self, *factors: int) -> int:
        if min(factors) < 0:
            raise ValueError("the size of a matrix is damaged")
        first, second, third = factors
        return first * second * third

    def _flag(self) -> bool:
        return bool(self._read("<b")[0])

    def _read(self, layout: str) -> Sequence[Any]:
        values = struct.unpack_from(layout, self._content, self._at)
        self._at += struct.calcsize(layout)
        return values

    def _skip(self, size: int) -> None:
        if size < 0 or self._at + size > len(self._content):
            raise ValueError("it is incomplete")
        self._at += size
