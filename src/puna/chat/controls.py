"""Text with control tokens in it becomes ids; what users typed becomes none of those tokens.

Some characters of a text are foreign: they were typed, not written by a chat template. A control token whose text has a
foreign character is not that token but text. To read it so, the text is cut inside of it, and the parts are encoded one
after the other: no part holds the whole. Everything else is encoded as any reader of chat templates does it, in one
piece, so that the ids of conversations without such text are theirs.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from puna.core.errors import GenerateError
from puna.tokenizer.tokenizer import Tokenizer

TEMPLATE, ANSWER, TYPED = 0, 1, 2
"""Where a character comes from: the template, what the model itself answered, or anybody else."""

_HEAD = "\0"
"""Put before a part that continues a text, and taken off its ids: no dummy prefix then comes between the parts."""


class Control(NamedTuple):
    """A token that structures a conversation."""

    text: str
    token: int
    special: bool
    """Whether it stands for no text. The others (`</think>` of some models) a model may write as part of an answer."""


def controls_of(tokenizer: Tokenizer, template: str) -> list[Control]:
    """The control tokens of a tokenizer, and of its ordinary added tokens those that a chat template writes.

    Args:
        tokenizer: The model's.
        template: The template's source.
    """
    found = {
        piece: Control(piece, token, special=True)
        for token in range(tokenizer.vocab_size)
        if (tokenizer.is_control(token) or token in tokenizer.stops) and (piece := tokenizer.piece(token))
    }
    for text, token in tokenizer.added.items():
        # The latter may be put together: '<|' + message['role'] + '|>'.
        written = text.strip() and (text in template or text.startswith(("<|", "<\uff5c")))
        if written and text not in found:
            found[text] = Control(text, token, special=False)
    return list(found.values())


def encode(tokenizer: Tokenizer, controls: list[Control], text: str, origins: bytes) -> list[int]:
    """The ids of a text in which the template's control tokens are tokens, and those of others are text.

    Args:
        tokenizer: The model's.
        controls: What `controls_of` gives for it.
        text: What a template wrote.
        origins: Of each character, `TEMPLATE`, `ANSWER` or `TYPED`.

    Raises:
        GenerateError: A control token that was typed cannot be read as text.
    """
    (ids,) = encode_each(tokenizer, controls, [(text, origins)])
    if isinstance(ids, GenerateError):
        raise ids
    return ids


def encode_each(
    tokenizer: Tokenizer, controls: list[Control], each: Sequence[tuple[str, bytes]]
) -> list[list[int] | GenerateError]:
    """`encode` of many texts with their origins, or why one of them has no ids; in less time than one by one."""
    begun = [_begin(controls, text, origins) for text, origins in each]
    firsts = [one.first for one in begun if not isinstance(one, GenerateError)]
    encoded = iter(tokenizer.encode_special(firsts))
    return [one if isinstance(one, GenerateError) else _end(tokenizer, controls, one, next(encoded)) for one in begun]


class _Begun(NamedTuple):
    """A text that is to be encoded."""

    first: str
    rest: list[str]
    """Parts that continue it, where it was cut."""
    own: Counter[int]
    """How often each control token is the template's."""


def _begin(controls: list[Control], text: str, origins: bytes) -> _Begun | GenerateError:
    """Cut a text inside the control tokens that are not the template's."""
    cuts: set[int] = set()
    own: Counter[int] = Counter()
    for control in [control for control in controls if control.text in text]:
        foreign = (TYPED, ANSWER) if control.special else (TYPED,)
        for start in _occurrences(text, control.text):
            at = next((at for at in range(start, start + len(control.text)) if origins[at] in foreign), None)
            if at is None:
                own[control.token] += 1
            elif len(control.text) == 1:
                return _refusal(control.text)
            else:
                cuts.add(at if at > start else at + 1)
    first, *rest = [text[start:end] for start, end in pairwise([0, *sorted(cuts), len(text)])]
    return _Begun(first, rest, own)


def _end(tokenizer: Tokenizer, controls: list[Control], begun: _Begun, ids: list[int]) -> list[int] | GenerateError:
    """The ids of a text from those of its first part."""
    for part in begun.rest:
        ids += _continued(tokenizer, part)
    counts = Counter(ids)
    for control in [control for control in controls if control.token in counts]:
        # A normalizer can make a control token of what looked different.
        if control.token != tokenizer.unk_id and counts[control.token] > begun.own[control.token]:
            return _refusal(control.text)
    return ids


def _occurrences(text: str, part: str) -> Iterator[int]:
    """Where a part begins, also where two of them overlap."""
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _continued(tokenizer: Tokenizer, part: str) -> list[int]:
    """Ids of a part that continues a text."""
    if not tokenizer.space_prefix:
        return tokenizer.encode(part, special=True)
    head, ids = tokenizer.encode(_HEAD), tokenizer.encode(_HEAD + part, special=True)
    return ids[len(head) :] if ids[: len(head)] == head else tokenizer.encode(part, special=True)


def _refusal(control: str) -> GenerateError:
    return GenerateError(
        f"a message holds {control}, a control token of the model, which its tokenizer cannot read as text",
        hint="leave it out, or write it with a space inside",
    )
