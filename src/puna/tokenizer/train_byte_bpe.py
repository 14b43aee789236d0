"""Learn a byte-level BPE like GPT-NeoX's: its regular expression, its two special tokens, bytes, then merges.

Two things differ. GPT-NeoX's composes characters (NFC) first; here decoding gives every text back. It also adds runs of
spaces to a vocabulary that was learned before; here merges learn them.
"""

import json

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from puna.core.errors import TokenizerError
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.byte_bpe_json import write_byte_bpe
from puna.tokenizer.byte_level import GPT2, LETTERS
from puna.tokenizer.ends import Ends
from puna.tokenizer.training_text import TrainingText

_SPECIAL = ["<|endoftext|>", "<|padding|>"]
"""Special tokens; the first one begins and ends a text."""


def learn_byte_bpe(text: TrainingText, vocab_size: int) -> ByteBPETokenizer:
    """A byte-level BPE of `vocab_size` pieces; the same text gives the same one.

    Raises:
        TokenizerError: There is no text, or not enough for this number of pieces.
    """
    fewest = len(_SPECIAL) + len(LETTERS)
    if vocab_size < fewest:
        raise TokenizerError(
            f"model.vocab_size = {vocab_size} is too small: bytes and special tokens alone need {fewest}",
            hint="raise it",
        )
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=_SPECIAL, initial_alphabet=list(LETTERS.values()), show_progress=False,
        max_token_length=None,
    )  # fmt: skip
    try:
        engine.train_from_iterator(iter(text), trainer)
    except BaseException as error:
        raise text.error or error from None
    if not text.n_bytes:
        raise TokenizerError("there is no text to train the tokenizer on")
    model = json.loads(engine.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    if len(pieces) < vocab_size:
        raise TokenizerError(
            f"model.vocab_size = {vocab_size} is too large: {text.n_bytes} bytes of text allow {len(pieces)} at most",
            hint="lower it, or add text",
        )
    ends = Ends(_SPECIAL[0], _SPECIAL[0], add_bos=True)
    merges = [(left, right) for left, right in model["merges"]]
    return ByteBPETokenizer(write_byte_bpe(pieces, merges, GPT2, ends, special=range(len(_SPECIAL))))
