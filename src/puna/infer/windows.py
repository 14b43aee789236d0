"""A text that is longer than the model's context, in windows that slide over it.

A window has `size` tokens, and begins `stride` tokens after the one before. It scores the tokens that no window before
it has scored, so each token of the text is scored once, and after the first window each has at least `size - stride`
tokens before it (Baevski and Auli 2019, section 4; Hugging Face's guide, "Perplexity of fixed-length models").
"""

from collections.abc import Iterator, Sequence


def windows(ids: Sequence[int], size: int, stride: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The windows over a text, each as its context and the tokens that it scores; the first token is never scored.

    Args:
        ids: The text, its beginning-of-sequence token first.
        size: Tokens that the model reads at a time; the last one that is scored is only looked at, so it comes on top.
        stride: From 1 to `size`, where each window but the first has only the token before it as context.
    """
    begin, done = 0, 1
    while done < len(ids):
        end = min(begin + size + 1, len(ids))
        yield tuple(ids[begin:done]), tuple(ids[done:end])
        begin, done = begin + stride, end
