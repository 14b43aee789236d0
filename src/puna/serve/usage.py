"""How many tokens a request took."""

from collections.abc import Iterable
from typing import Any

from puna.infer.requests import Completion


def usage_of(done: Iterable[Completion]) -> dict[str, Any]:
    """The numbers of tokens of a request's completions, as OpenAI's completions and chats tell them.

    A prompt counts once, however many texts were written for it, and what it found in the cache is what the first of
    them found: the others find what that one has read.

    Args:
        done: All of them.
    """
    done = list(done)
    firsts = [one for one in done if one.sample == 0]
    read, written = sum(one.prompt_tokens for one in firsts), sum(len(one.tokens) for one in done)
    return {
        "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": sum(one.cached_tokens for one in firsts)},
    }  # fmt: skip
