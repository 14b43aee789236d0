"""Where the token that begins a sequence (BOS) stands before a prompt: once, or not at all.

`Tokenizer.add_bos` decides. Two of them happen to who writes `<s>` before a prompt by hand, as other systems ask for;
models were never trained on that, and write worse after it.
"""

from puna.core.console import warn
from puna.tokenizer.tokenizer import Tokenizer


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The ids that a model continues; it needs one at least, so an empty prompt is BOS in any case.

    Raises:
        TokenizerError: The prompt has a lone surrogate.
    """
    return tokenizer.encode(prompt, bos=tokenizer.add_bos or not prompt)


def warn_doubled(tokenizer: Tokenizer, prompt: str | list[int]) -> None:
    """Warn on stderr where a prompt has BOS twice, or the text of it where the tokenizer puts the token itself.

    Args:
        tokenizer: Whose BOS.
        prompt: The text before it is encoded, or all its ids.
    """
    piece = tokenizer.piece(tokenizer.bos_id)
    if isinstance(prompt, list):
        if prompt[:2] == [tokenizer.bos_id] * 2:
            warn(f"the prompt begins with {piece} twice; models are trained with one")
    elif tokenizer.add_bos and prompt.startswith(piece):
        warn(f"the prompt begins with {piece}, which is read as text: that token is put before every prompt anyway")
