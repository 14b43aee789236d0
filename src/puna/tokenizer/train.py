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
from puna.tokenizer.tokenizer import FILE, Tokenizer

_LINE_BYTES = 1 << 20
"""SentencePiece passes over longer lines without a word; ours are cut before that."""


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
        TokenizerError: There is no text, or not enough of it for so many pieces.
    """
    model = io.BytesIO()
    counter = _Counter()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=counter.lines(texts),
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
        raise _explain(str(error), vocab_size, counter.bytes) from None
    tokenizer = Tokenizer(model.getvalue())
    with atomic_directory(out, replace=True) as temporary:
        (temporary / FILE).write_bytes(tokenizer.model_bytes)
        write_tokenizer_json(tokenizer, temporary / "tokenizer.json")
        outputs = {name: sha256_file(temporary / name) for name in (FILE, "tokenizer.json")}
        results = {"vocab_size": tokenizer.vocab_size, "training_bytes": counter.bytes}
        Record("tokenizer", config=config, inputs=inputs, outputs=outputs, results=results).write(
            temporary / "record.json"
        )
    return tokenizer


class _Counter:
    """Counts the bytes that pass by."""

    def __init__(self) -> None:
        self.bytes = 0

    def lines(self, texts: Iterable[str]) -> Iterator[str]:
        """The lines of all texts, in pieces that SentencePiece does not pass over."""
        for text in texts:
            self.bytes += len(text.encode())
            for line in text.split("\n"):
                if line:
                    # A character is 4 bytes at most.
                    yield from (line[i : i + _LINE_BYTES // 4] for i in range(0, len(line), _LINE_BYTES // 4))


def _explain(error: str, vocab_size: int, n_bytes: int) -> TokenizerError:
    if not n_bytes:
        return TokenizerError("there is no text to train the tokenizer on")
    if limit := re.search(r"value <= (\d+)", error):
        return TokenizerError(
            f"model.vocab_size = {vocab_size} is more than {n_bytes} bytes of text allow",
            hint=f"set it to {limit[1]} or less, or add text",
        )
    if "required_chars" in error or "smaller than" in error:
        return TokenizerError(
            f"model.vocab_size = {vocab_size} is less than the characters of the text need",
            hint="raise it, or lower tokenizer.character_coverage",
        )
    return TokenizerError(f"SentencePiece could not train on this text: {error.splitlines()[-1]}")
