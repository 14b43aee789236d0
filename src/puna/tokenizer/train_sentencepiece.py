"""Learn a SentencePiece BPE like LLaMA's (section 2.1): digits split, bytes as the fallback.

Whitespace is kept as it is (identity normalisation, runs of spaces may become pieces): OpenLLaMA's first tokenizer
merged repeated spaces and could not write code.
"""

import io
import re
from collections.abc import Iterator

import sentencepiece

from puna.core.errors import TokenizerError
from puna.tokenizer.sentencepiece import SPACE, SentencePieceTokenizer
from puna.tokenizer.training_text import TrainingText

_LINE_BYTES = 1 << 20
"""SentencePiece drops longer lines without a message; ours are cut before that."""

_LINE_CHARACTERS = _LINE_BYTES // 4
"""Characters of a line at most: a character is four bytes of UTF-8 at most."""

_BREAK = re.compile("[\n\u2581\u2585]")
"""Where lines end. SentencePiece drops lines that hold U+2585, and it would learn U+2581 as a space."""


def learn_sentencepiece(text: TrainingText, vocab_size: int, character_coverage: float) -> SentencePieceTokenizer:
    """A SentencePiece BPE of `vocab_size` pieces; the same text gives the same one.

    Raises:
        TokenizerError: There is no text, not enough for this number of pieces, or more characters than pieces.
    """
    model = io.BytesIO()
    lines = _Lines(text)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            required_chars=SPACE,  # it is rare if long lines have no spaces, and the dummy prefix needs it
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
        raise text.error or _explain(str(error), vocab_size, lines) from None
    return SentencePieceTokenizer(model.getvalue())


class _Lines:
    """The training text line by line; after a pass, how many there were."""

    def __init__(self, text: TrainingText) -> None:
        self.text = text
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        for text in self.text:
            for line in _BREAK.split(text):
                for piece in _cut(line):
                    self.count += 1
                    yield piece


def _cut(line: str) -> Iterator[str]:
    """A line in pieces that SentencePiece reads; an empty line has none.

    It is cut at a space where possible; the dummy prefix of the next piece then replaces the space.
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
    n_bytes = lines.text.n_bytes
    if limit := re.search(r"value <= (\d+)", error):
        return TokenizerError(
            f"model.vocab_size = {vocab_size} is too large: {n_bytes} bytes of text allow {limit[1]} at most",
            hint="lower it, or add text",
        )
    if limit := re.search(r"required_chars\. \d+ vs (\d+)", error):
        return TokenizerError(
            f"model.vocab_size = {vocab_size} is too small: the characters of the text alone need {limit[1]}",
            hint="raise it, or lower tokenizer.character_coverage",
        )
    return TokenizerError(f"SentencePiece could not train on this text: {' '.join(error.split())}")
