# ruff: noqa: RUF001
"""A language model that measures how similar a text is to its training text (CCNet, section 3.3).

```
<directory>/
  sp.model       SentencePiece, unigram: 65,536 pieces, fewer where the text is small; character coverage 0.9995
  lm.bin         KenLM, 5-grams of pieces, as build_binary writes it; lm.arpa where there is no build_binary
  cutoffs.json   {"head", "middle"}: the perplexities below which 30 and 60 % of the reference documents lie; "score":
                 whether these are of lines or of pages
  record.json
```

A text is scored line by line: a line is a paragraph, as in the training text, and the perplexity of a text of lines l
is 10 ^ (-sum log10 p(l) / sum (tokens(l) + 1)), where p includes the line's begin and end. CCNet's released code
removes newlines before it looks for lines (text_normalizer.py, perplexity.py), so that a page is one long line whose
words at the ends of lines are joined: `page_perplexity` does the same, for models whose cut-offs were found so, such as
CCNet's own.
"""

import json
import math
import os
import re
import shutil
import subprocess
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import sentencepiece

from puna.core.console import say
from puna.core.errors import DataError
from puna.core.files import atomic_directory, sha256_file, write_json
from puna.core.records import Record

PIECES, COVERAGE, ORDER = 65_536, 0.9995, 5
HEAD_PERCENTILE, MIDDLE_PERCENTILE = 30, 60
LINES, PAGE = "lines", "page"
"""What a perplexity is of: a text's lines, or the text as one line."""
TOKENIZER, BINARY, ARPA, CUTOFFS = "sp.model", "lm.bin", "lm.arpa", "cutoffs.json"

_TOKENIZER_LINES = 400_000
"""How many random lines the pieces are learned from: CCNet's number of documents."""
_LINE_CHARACTERS = 10_000
"""Longer lines are cut: SentencePiece needs some hundred bytes per character of a line."""
_TRAINING_LINE_BYTES = 12 * _LINE_CHARACTERS
"""SentencePiece drops longer lines. NFD makes up to twelve bytes of a character, nine of a Korean syllable."""
_THREADS = 8
"""Threads of SentencePiece: fixed for all machines, because another number changes the last digits of its sums."""
_MEMORY = "1G"
"""Memory that lmplz may take before it sorts on the disk."""

_DIGIT = re.compile(r"\d")
_HINT = "build it with launch/build-kenlm.sh and put its directory into PATH"

# fmt: off
_PUNCTUATION = {
    "，": ",", "、": ",", "。": ".", "．": ". ", "：": ":", "∶": ":", "；": ";", "！": "!", "？": "?", "…": "...",
    "„": '"', "”": '"', "“": '"', "«": '"', "»": '"', "」": '"', "「": '"', "《": '"', "》": '"', "´": "'", "’": "'",
    "（": "(", "）": ")", "〈": "<", "〉": ">", "【": "[", "】": "]", "–": "-", "━": "-", "—": " - ", "►": "-",
    "～": "~", "％": "%",
}
# fmt: on
"""CCNet's replacements for typographic punctuation (its table is that of Moses' scripts)."""

_SEPARATORS = "\t\v\f\r\x85"
_CONTROLS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
_REPLACED = str.maketrans(_PUNCTUATION | dict.fromkeys(_CONTROLS) | dict.fromkeys(_SEPARATORS, " "))
"""Control characters are removed, but those between words become spaces; CCNet joins the words."""
_REPLACED_IN_PAGES = str.maketrans(_PUNCTUATION | dict.fromkeys(_CONTROLS))
_ASCII = bytes(ord("0") if chr(c).isdigit() else ord(" ") if chr(c) in _SEPARATORS else c for c in range(128)).lower()
_ASCII_REMOVED = bytes(ord(c) for c in _CONTROLS if c not in _SEPARATORS and c.isascii())


def normalise(line: str) -> str:
    """A line as the model reads it, after CCNet: lower case, no accents, digits 0, plain punctuation, no controls."""
    if line.isascii():  # the same in one pass
        return line.encode().translate(_ASCII + bytes(128), _ASCII_REMOVED).decode().strip()
    line = _marks().sub("", unicodedata.normalize("NFD", line.lower()))
    return _DIGIT.sub("0", line).translate(_REPLACED).strip()


@cache
def _marks() -> re.Pattern[str]:
    """Accents and other marks without width: those that NFD separates from letters, and more."""
    return re.compile("[" + "".join(filter(_is_mark, map(chr, range(0xE0200)))) + "]")


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) == "Mn"


def page_line(text: str) -> str:
    """A page as CCNet's released code reads it: normalised, without its line ends and other controls, in one line."""
    line = _marks().sub("", unicodedata.normalize("NFD", text.strip().lower()))
    return _DIGIT.sub("0", line).translate(_REPLACED_IN_PAGES)


def normalised_lines(text: str) -> Iterator[str]:
    """The lines of a text that are not blank, normalised; long ones in pieces."""
    for line in text.split("\n"):
        for start in range(0, len(line), _LINE_CHARACTERS):
            if found := normalise(line[start : start + _LINE_CHARACTERS]):
                yield found


class LanguageModel:
    """A trained model; it is loaded at the first text.

    `score` says what its cut-offs are of, `lines` or `page`; None if its file does not tell.

    Args:
        directory: A directory made by `train_language_model`.

    Raises:
        DataError: A file is missing, or the cut-offs are not numbers.
    """

    def __init__(self, directory: Path) -> None:
        model = directory / BINARY
        self.tokenizer, self.model = directory / TOKENIZER, model if model.exists() else directory / ARPA
        self.cutoffs = directory / CUTOFFS
        for path in self.files:
            if not path.is_file():
                raise DataError(
                    f"{directory}: is not a language model, it has no {path.name}",
                    hint="make it with puna data train-lm",
                )
        try:
            values = json.loads(self.cutoffs.read_bytes())
            self.head, self.middle = float(values["head"]), float(values["middle"])
            self.score = values.get("score")
        except (OSError, ValueError, TypeError, KeyError):
            raise DataError(f"{self.cutoffs}: expected two numbers, 'head' and 'middle'") from None
        if self.score not in (None, LINES, PAGE):
            raise DataError(f"{self.cutoffs}: 'score' is {self.score!r}, expected {LINES!r} or {PAGE!r}")

    @property
    def files(self) -> list[Path]:
        """The files that determine the result."""
        return [self.tokenizer, self.model, self.cutoffs]

    def perplexity(self, text: str) -> float:
        """The perplexity of a text per piece; infinite for a text without pieces."""
        score, length = 0.0, 0
        encode, kenlm = self._tokenizer.encode, self._kenlm
        for line in normalised_lines(text):
            pieces = encode(line, out_type=str)
            score += kenlm.score(" ".join(pieces))
            length += len(pieces) + 1
        return perplexity(score, length)

    def page_perplexity(self, text: str) -> float:
        """The perplexity of a text as CCNet's released code finds it, rounded to one decimal as there."""
        pieces = " ".join(self._tokenizer.encode(page_line(text), out_type=str))
        if not pieces:
            return math.inf
        return round(perplexity(self._kenlm.score(pieces), len(pieces.split()) + 1), 1)

    def perplexity_by(self, score: str) -> Callable[[str], float]:
        """The function that scores a text by its lines, or as one page.

        Args:
            score: `lines` or `page`.
        """
        return self.page_perplexity if score == PAGE else self.perplexity

    def bucket(self, perplexity: float) -> str:
        """`head`, `middle` or `tail`."""
        if perplexity < self.head:
            return "head"
        return "middle" if perplexity < self.middle else "tail"

    def __getstate__(self) -> dict[str, Any]:
        loaded = {"_tokenizer", "_kenlm"}
        return {name: value for name, value in self.__dict__.items() if name not in loaded}

    @cached_property
    def _tokenizer(self) -> sentencepiece.SentencePieceProcessor:
        try:
            return sentencepiece.SentencePieceProcessor(model_file=str(self.tokenizer))
        except (RuntimeError, OSError):
            raise DataError(f"{self.tokenizer}: is not a SentencePiece model") from None

    @cached_property
    def _kenlm(self) -> Any:
        return _load(self.model)


def perplexity(score: float, length: int) -> float:
    """The perplexity of `length` tokens whose log10 probabilities sum to `score`."""
    exponent = -score / length if length else math.inf
    return 10.0**exponent if exponent < 300 else math.inf


def train_language_model(
    texts: Iterable[str],
    out: Path,
    *,
    language: str,
    reference: Iterable[str],
    pieces: int = PIECES,
    score: str = LINES,
    lmplz: str = "lmplz",
    build_binary: str = "build_binary",
) -> dict[str, Any]:
    """Train a language model and find its cut-offs; the directory appears when it is complete.

    Args:
        texts: The training text, such as the openings of a million articles of Wikipedia (CCNet).
        out: The directory to make.
        language: The language's code, for the record.
        reference: Documents like those that will be scored: CCNet takes pages of CommonCrawl in the language.
        pieces: Most pieces of the tokenizer.
        score: What the cut-offs are of: `lines`, or `page` as in CCNet's released code.
        lmplz: The name or path of KenLM's program, which is not in the Python package.
        build_binary: The name or path of the program that writes the model in a form that loads at once; without it the
            model stays text.

    Returns:
        The figures of the record: lines, tokens and pieces, reference documents with their cut-offs and deciles.

    Raises:
        DataError: lmplz is missing, there is too little text to train on, or no reference document has text.
    """
    program = shutil.which(lmplz)
    if program is None:
        raise DataError(f"KenLM's program {lmplz!r}, which makes the language model, is not there", hint=_HINT)
    settings = {"language": language, "pieces": pieces, "coverage": COVERAGE, "order": ORDER, "score": score}
    record = Record("language-model", config=settings)
    with tempfile.TemporaryDirectory() as name, atomic_directory(out, replace=True) as directory:
        corpus = Path(name) / "corpus.txt"
        n_lines = _write_corpus(texts, corpus)
        if not n_lines:
            raise DataError("there is no text to train the language model on")
        record.inputs = {"normalised_text": sha256_file(corpus)}
        say(f"learning at most {pieces:,} pieces from {min(n_lines, _TOKENIZER_LINES):,} of {n_lines:,} lines")
        tokenizer = _train_tokenizer(corpus, directory / TOKENIZER, min(n_lines, _TOKENIZER_LINES), pieces)
        say(f"counting {ORDER}-grams of {tokenizer.get_piece_size():,} pieces")
        tokens = _train_ngrams(program, corpus, tokenizer, Path(name))
        _binary(shutil.which(build_binary), Path(name) / ARPA, directory)
        figures = {"lines": n_lines, "tokens": tokens, "pieces": tokenizer.get_piece_size()}
        figures |= _write_cutoffs(directory, reference, score)
        record.outputs = {path.name: sha256_file(path) for path in sorted(directory.iterdir())}
        record.results = figures
        record.write(directory / "record.json")
    return figures


def _write_corpus(texts: Iterable[str], path: Path) -> int:
    """Write the normalised text line by line, and count the lines."""
    count = 0
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        for text in texts:
            for line in normalised_lines(text):
                file.write(line + "\n")
                count += 1
    return count


def _train_tokenizer(corpus: Path, out: Path, lines: int, pieces: int) -> sentencepiece.SentencePieceProcessor:
    sentencepiece.set_random_generator_seed(0)
    try:
        with out.open("wb") as model, corpus.open(encoding="utf-8", newline="\n") as file:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=(line.rstrip("\n") for line in file),  # the model would contain a file's name
                model_writer=model,
                model_type="unigram",
                vocab_size=pieces,
                hard_vocab_limit=False,
                character_coverage=COVERAGE,
                input_sentence_size=lines,
                shuffle_input_sentence=True,
                max_sentence_length=_TRAINING_LINE_BYTES,
                num_threads=_THREADS,
                minloglevel=3,
            )
    except RuntimeError as error:
        message = f"SentencePiece could not train on this text: {' '.join(str(error).split())}"
        raise DataError(message, hint="add text") from None
    return sentencepiece.SentencePieceProcessor(model_file=str(out))


def _train_ngrams(program: str, corpus: Path, tokenizer: sentencepiece.SentencePieceProcessor, work: Path) -> int:
    """Feed the pieces of all lines to lmplz, which writes lm.arpa; returns the number of pieces."""
    command = [
        program, "--order", str(ORDER), "--discount_fallback", "--memory", _MEMORY, "--temp_prefix",
        f"{work}/", "--arpa", str(work / ARPA),
    ]  # fmt: skip
    count = 0
    with (work / "lmplz.log").open("w+b") as log:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log, stdout=log) as process:
            try:
                count = _feed(cast(BinaryIO, process.stdin), corpus, tokenizer)
            except BrokenPipeError:
                pass  # lmplz has ended, and its exit code is checked below
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            log.seek(0)
            said = log.read().decode("utf-8", "replace").strip().splitlines() or ["nothing"]
            raise DataError(f"{program} ended with code {process.returncode} and said: {said[-1]}")
    return count


def _feed(stdin: BinaryIO, corpus: Path, tokenizer: sentencepiece.SentencePieceProcessor) -> int:
    count = 0
    with corpus.open(encoding="utf-8", newline="\n") as file, stdin:
        for line in file:
            pieces = tokenizer.encode(line.rstrip("\n"), out_type=str)
            count += len(pieces)
            stdin.write(" ".join(pieces).encode() + b"\n")
    return count


def _binary(program: str | None, arpa: Path, directory: Path) -> None:
    """Put the model into the directory, if possible as a file that is mapped into memory."""
    if program is None:
        shutil.move(arpa, directory / ARPA)
        return
    done = subprocess.run([program, str(arpa), str(directory / BINARY)], capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing"]
        raise DataError(f"{program} ended with code {done.returncode} and said: {said[-1]}")


def _write_cutoffs(directory: Path, reference: Iterable[str], score: str) -> dict[str, Any]:
    """Write the cut-offs of the reference documents; returns the figures for the record."""
    write_json(directory / CUTOFFS, {"head": 0, "middle": 0})
    measure = LanguageModel(directory).perplexity_by(score)
    found = np.array([value for value in map(measure, reference) if math.isfinite(value)])
    if not found.size:
        raise DataError("no reference document has a perplexity, so there are no cut-offs")
    head, middle = np.percentile(found, [HEAD_PERCENTILE, MIDDLE_PERCENTILE])
    cutoffs = {"head": float(head), "middle": float(middle)}
    write_json(directory / CUTOFFS, cutoffs | {"score": score})
    deciles = [round(float(value), 1) for value in np.percentile(found, range(10, 100, 10))]
    return {"reference_documents": found.size, "reference_perplexity_deciles": deciles} | cutoffs


def _load(path: Path) -> Any:
    import kenlm  # pyrefly: ignore[missing-import]

    settings = kenlm.Config()
    settings.show_progress = False
    settings.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(os.fspath(path), settings)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: KenLM cannot load this model ({' '.join(str(error).split())[:200]})") from None
