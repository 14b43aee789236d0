"""The token that begins a sequence (BOS) before a prompt: once, or not at all.

`Tokenizer.add_bos` decides. A user who writes `<s>` before a prompt by hand, as other systems require, gets two; models
were never trained on that, and write worse after it.
"""

from collections.abc import Sequence

from puna.core.console import warn
from puna.tokenizer.tokenizer import Tokenizer


def prompt_ids(tokenizer: Tokenizer, prompt: str, *, special: bool = False) -> list[int]:
    """The ids that a model continues; it needs at least one, so an empty prompt always becomes BOS.

    Args:
        tokenizer: The model's.
        prompt: The text.
        special: Whether the text of control tokens in it is those tokens. A chat template may have written BOS itself.

    Raises:
        TokenizerError: The prompt has a lone surrogate.
    """
    ids = tokenizer.encode(prompt, special=special)
    begins = special and ids[:1] == [tokenizer.bos_id]
    return ids if ids and (begins or not tokenizer.add_bos) else [tokenizer.bos_id, *ids]


def begins_text(tokenizer: Tokenizer, prompt: Sequence[int]) -> bool:
    """Whether a dummy prefix of what follows is not part of it: BOS or another control token is right before it.

    Args:
        tokenizer: The model's.
        prompt: The ids before; a model may have more ids than the tokenizer.
    """
    last = prompt[-1] if prompt else tokenizer.vocab_size
    return tokenizer.space_prefix and last < tokenizer.vocab_size and tokenizer.is_control(last)


def pair_ids(tokenizer: Tokenizer, context: str, continuation: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids of a context, BOS first, and of the continuation that is scored after it.

    The two are read as one text. Spaces between them count to the continuation, as tokenizers cut words.

    Args:
        tokenizer: The model's.
        context: It may be empty, and is BOS then.
        continuation: What follows.

    Raises:
        TokenizerError: One of them has a lone surrogate.
    """
    stripped = context.rstrip(" ")
    first = prompt_ids(tokenizer, stripped)
    whole = prompt_ids(tokenizer, context + continuation)
    # An empty context is its BOS, which a text with content lacks where the tokenizer does not put it.
    whole = whole if stripped or whole[:1] == first else [*first, *whole]
    return tuple(whole[: len(first)]), tuple(whole[len(first) :])


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
    elif found := _first_control(tokenizer, prompt):
        warn(f"the prompt has {found}, which is read as text; --special reads it as the token")


def _first_control(tokenizer: Tokenizer, prompt: str) -> str | None:
    """A control token of the kind that chat templates write and no other text has, if the prompt has its text."""
    if "<|" not in prompt:  # `<s>` is a tag of HTML, too
        return None
    controls = (tokenizer.piece(token) for token in range(tokenizer.vocab_size) if tokenizer.is_control(token))
    return next((piece for piece in controls if piece.startswith("<|") and piece in prompt), None)
