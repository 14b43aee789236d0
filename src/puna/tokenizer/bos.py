"""The token that begins a sequence (BOS) before a prompt: once, or not at all.

`Tokenizer.add_bos` decides. A user who writes `<s>` before a prompt by hand, as other systems require, gets two; models
were never trained on that, and write worse after it.
"""

from puna.core.console import warn
from puna.tokenizer.tokenizer import Tokenizer


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The ids that a model continues; it needs at least one, so an empty prompt always becomes BOS.

    Raises:
        TokenizerError: The prompt has a lone surrogate.
    """
    return tokenizer.encode(prompt, bos=tokenizer.add_bos or not prompt)


def warn_doubled(tokenizer: Tokenizer, prompt: str | list[int]) -> None:
    """Warn on stderr if a prompt has BOS twice, or has its text although the tokenizer adds the token itself.

    Args:
        tokenizer: The tokenizer that defines BOS.
        prompt: The text before it is encoded, or all its ids.
    """
    piece = tokenizer.piece(tokenizer.bos_id)
    if isinstance(prompt, list):
        if prompt[:2] == [tokenizer.bos_id] * 2:
            warn(f"the prompt begins with {piece} twice; models are trained with one")
    elif tokenizer.add_bos and prompt.startswith(piece):
        warn(f"the prompt begins with {piece}, which is read as text: that token is put before every prompt anyway")
