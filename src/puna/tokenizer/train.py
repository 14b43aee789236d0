"""Train the tokenizer, and write it with its record."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from puna.core.files import atomic_directory, sha256_file
from puna.core.records import Record
from puna.tokenizer.huggingface import tokenizer_json
from puna.tokenizer.tokenizer import Kind, Tokenizer
from puna.tokenizer.train_byte_bpe import learn_byte_bpe
from puna.tokenizer.train_sentencepiece import learn_sentencepiece
from puna.tokenizer.training_text import Portion, TrainingText


def train_tokenizer(
    texts: Iterable[str],
    *,
    vocab_size: int,
    character_coverage: float,
    config: dict[str, Any],
    inputs: dict[str, str],
    out: Path,
    kind: Kind = "sentencepiece",
    by_source: Mapping[str, Portion] | None = None,
) -> Tokenizer:
    """Train on `texts` and write the native file, tokenizer.json and record.json.

    Args:
        texts: The training text, whole documents; it is held in memory.
        vocab_size: Pieces in all: control tokens, 256 bytes, and those that are learned.
        character_coverage: Share of the text's characters that get a piece; only SentencePiece uses it.
        config: The settings that determine the result, for the record.
        inputs: Hashes of the sources of the text, for the record.
        out: The directory to make.
        kind: SentencePiece BPE, or byte-level BPE.
        by_source: What each source gives to `texts`, for the record; it is read after them.

    Raises:
        TokenizerError: There is no text, not enough for this number of pieces, or it is not Unicode text.
    """
    record = Record("tokenizer", config=config, inputs=inputs)
    text = TrainingText(texts)
    tokenizer = (
        learn_sentencepiece(text, vocab_size, character_coverage)
        if kind == "sentencepiece"
        else learn_byte_bpe(text, vocab_size)
    )
    files = {tokenizer.file: tokenizer.content, "tokenizer.json": tokenizer_json(tokenizer)}
    with atomic_directory(out, replace=True) as temporary:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        record.outputs = {name: sha256_file(temporary / name) for name in files}
        record.results = {
            "vocab_size": tokenizer.vocab_size,
            "training_bytes": text.n_bytes,
            "sources": {name: asdict(portion) for name, portion in (by_source or {}).items()},
        }
        record.write(temporary / "record.json")
    return tokenizer
