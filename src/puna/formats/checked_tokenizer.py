"""The tokenizer that goes with an opened model."""

from puna.core.errors import FormatError, TokenizerError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

_WITHOUT = "name another tokenizer with --tokenizer, or import the weights alone: `puna import --no-tokenizer`"


def checked_tokenizer(checkpoint: Checkpoint, hints: Hints) -> Tokenizer | None:
    """The tokenizer that the user named, or the model's own; None if there is none, or if the user wants none.

    Raises:
        FormatError: It has more tokens than the model.
        TokenizerError: It cannot be used.
    """
    if hints.no_tokenizer:
        return None
    try:
        if hints.tokenizer is None:
            tokenizer = checkpoint.tokenizer()
        else:
            rows = checkpoint.config.vocab_size
            tokenizer = load_tokenizer(hints.tokenizer, rows=rows, stop_ids=checkpoint.stop_ids)
    except TokenizerError as error:
        raise TokenizerError(error.message, hint=error.hint or _WITHOUT) from None
    if tokenizer is not None and tokenizer.vocab_size > checkpoint.config.vocab_size:
        raise FormatError(
            f"{tokenizer.origin}: has {tokenizer.vocab_size} tokens, but {checkpoint.path} has embeddings for "
            f"{checkpoint.config.vocab_size}",
            hint="name the tokenizer that the model was trained with: --tokenizer PATH; or import the weights alone: "
            "`puna import --no-tokenizer`",
        )
    return tokenizer
