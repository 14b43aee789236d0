"""Train the tokenizer: SentencePiece BPE as LLaMA's (section 2.1), digits split, bytes as the fallback.

Whitespace is kept as it is (identity normalisation, runs of spaces may become pieces): OpenLLaMA's first tokenizer
merged repeated spaces and could not write code.
"""

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import sentencepiece

from puna.core.errors import TokenizerError
from puna.core.files import atomic_directory, sha256_file
from puna.core.records import Record
from puna.tokenizer.huggingface import write_tokenizer_json
from puna.tokenizer.tokenizer import FILE, Tokenizer, check_unicode

_LINE_BYTES = 1 << 20
"""SentencePiece passes over longer lines without a word; ours are cut before that."""

_LINE_CHARACTERS = _LINE_BYTES // 4
"""A character is four bytes of UTF-8 at most."""

_BREAK = re.compile("[\n\u2581\u2585]")
"""Where lines end. SentencePiece passes over lines that hold U+2585, and it would learn U+2581 as a space."""


def train_tokenizer(
    texts: Iterable[str],
    *,
    vocab_size: int,
    character_coverage: float,
    config: dict[str, Any],
    inputs: dict[str, str],
    out: Path,
) -> Tokenizer:
    """Train on `texts` and write tokenizer.model, tokenizer.json and record.json.

    Args:
        texts: The training text, whole documents; it is held in memory.
        vocab_size: Pieces in all: 3 control tokens, 256 bytes, and those that are learned.
        character_coverage: Share of the text's characters that get a piece.
        config: What decided the result, for the record.
        inputs: Hashes of what the text was made from, for the record.
        out: The directory to make.

    Raises:
        TokenizerError: There is no text, not enough of it for so many pieces, or no Unicode text.
    """
    record = Record("tokenizer", config=config, inputs=inputs)
    model = io.BytesIO()
    lines = _Lines(texts)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            split_digits=True,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            max_sentence_length=_LINE_BYTES,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            num_threads=1,
            minloglevel=3,
        )
    except RuntimeError as error:
        raise lines.error or _explain(str(error), vocab_size, lines) from None
    tokenizer = Tokenizer(model.getvalue())
    with atomic_directory(out, replace=True) as temporary:
        (temporary / FILE).write_bytes(tokenizer.model_bytes)
        write_tokenizer_json(tokenizer, temporary / "tokenizer.json")
        record.outputs = {name: sha256_file(temporary / name) for name in (FILE, "tokenizer.json")}
        record.results = {"vocab_size": tokenizer.vocab_size, "training_bytes": lines.n_bytes}
        record.write(temporary / "record.json")
    return tokenizer


class _Lines:
    """The training text line by line; after a pass, what has passed by and what has broken it off."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.count = 0
        self.n_bytes = 0
        self.error: BaseException | None = None
        """SentencePiece makes a RuntimeError of whatever the text's reader raises, an interrupt included."""

    def __iter__(self) -> Iterator[str]:
        try:
            for text in self._texts:
                check_unicode(text)
                self.n_bytes += len(text.encode())
                for line in _BREAK.split(text):
                    for piece in _cut(line):
                        self.count += 1
                        yield piece
        except (Exception, KeyboardInterrupt) as error:
            self.error = error
            raise


def _cut(line: str) -> Iterator[str]:
    """A line in pieces that SentencePiece reads, none of an empty one.

    It is cut at a space where there is one, which the dummy prefix of the next piece then stands for.
    """
    start = 0
    while len(line) - start > _LINE_CHARACTERS:
        limit = start + _LINE_CHARACTERS
        space = line.rfind(" ", start + 1, limit)
        yield line[start : limit if space < 0 else space]
        start = limit if space < 0 else space + 1
    if start < len(line):
        yield line[start:]


def _explain(error: str, vocab_size: int, lines: _Lines) -> TokenizerError:
    if not lines.count:
        return TokenizerError("there is no text to train the tokenizer on")
    if limit := re.search(r"value <= (\d+)", error):
        return TokenizerError(
            f"model.vocab_size = {vocab_size} is too large: {lines.n_bytes} bytes of text allow {limit[1]} at most",
            hint="lower it, or add text",
        )
    if limit := re.search(r"required_chars\. \d+ vs (\d+)", error):
        return TokenizerError(
            f"model.vocab_size = {vocab_size} is too small: the characters of the text alone need {limit[1]}",
            hint="raise it, or lower tokenizer.character_coverage",
        )
    return TokenizerError(f"SentencePiece could not train on this text: {' '.join(error.split())}")
