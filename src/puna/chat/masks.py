"""An example as token ids, and which of them are learned.

The ids are those that a model is given when it is asked (`ChatTemplate.ids`), so that what is trained is what is read
later. Learned is what the model is to write itself: its answers, and the token that ends each of them. Without that a
model that was tuned never stops.

**Where answers are** the template says with `{% generation %}` blocks, if it has them. Else the characters do, which
know who wrote them (`Rendered.origins`). Where those do not suffice, for calls of tools, whose brackets the template
writes, for empty answers, or where a template looks into messages, the conversation is written down to each answer: the
answer begins where that ends. A template that then writes the past differently when the conversation goes on, without
earlier reasoning for example, is refused: it would teach what it never shows.

**The end of a turn** behind an answer is learned with it, also where it stands outside of a `{% generation %}` block.
Where the template writes nothing behind the last answer, EOS is put there.

A token that holds a character of an answer and others is learned whole, as in transformers.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from puna.chat.alignment import Span, common, tokens_within
from puna.chat.controls import ANSWER, encode
from puna.chat.example import Example
from puna.chat.messages import Message
from puna.chat.template import ChatTemplate, Rendered
from puna.chat.tools import Tool
from puna.core.errors import GenerateError

Learn: TypeAlias = Literal["answers", "last-answer", "everything"]
"""What of an example is learned, as `finetune.learn` has it."""

_RUN = re.compile(bytes([ANSWER]) + b"+")


@dataclass(frozen=True)
class Tokens:
    """An example as a model reads it."""

    ids: list[int]
    """BOS first, where the model's texts begin with it."""
    learned: list[bool]
    """Of each token, whether the model learns to write it."""


def tokens_of(
    template: ChatTemplate, example: Example, *, learn: Learn = "answers", now: datetime | None = None
) -> Tokens:
    """The ids of a conversation, and which of them are learned.

    Args:
        template: What writes it.
        example: Not a pair.
        learn: All answers, the last one alone, or every token but BOS.
        now: The time that the template may write; None is the present.

    Raises:
        GenerateError: The template does not take the conversation, or does not show where its answers are.
    """
    (tokens,) = tokens_of_each(template, [example], learn=learn, now=now)
    if isinstance(tokens, GenerateError):
        raise tokens
    return tokens


def tokens_of_each(
    template: ChatTemplate, examples: Sequence[Example], *, learn: Learn = "answers", now: datetime | None = None
) -> list[Tokens | GenerateError]:
    """`tokens_of` many conversations, or why one of them has none; in a fraction of the time."""
    if any(example.is_pair for example in examples):
        raise GenerateError("the example is a pair of answers, of which `pair_of` gives the tokens")
    asked = [_Asked(example.messages, example.tools) for example in examples]
    return _each(template, asked, now or datetime.now(), lambda _, written: written.tokens(learn))


def pair_of(template: ChatTemplate, example: Example, *, now: datetime | None = None) -> tuple[Tokens, Tokens]:
    """The conversation with the preferred answer, and with the other; learned are the answers after its messages.

    Args:
        template: What writes them.
        example: A pair.
        now: The time that the template may write; None is the present, the same for both.

    Raises:
        GenerateError: As for `tokens_of`, or the example is not a pair.
    """
    (pair,) = pairs_of_each(template, [example], now=now)
    if isinstance(pair, GenerateError):
        raise pair
    return pair


def pairs_of_each(
    template: ChatTemplate, examples: Sequence[Example], *, now: datetime | None = None
) -> list[tuple[Tokens, Tokens] | GenerateError]:
    """`pair_of` many examples, or why one of them has no tokens; in a fraction of the time."""
    if not all(example.is_pair for example in examples):
        raise GenerateError("the example is not a pair of answers")
    firsts = [sum(turn.role == "assistant" for turn in example.messages) for example in examples]
    asked = [
        _Asked((*example.messages, *turns), example.tools)
        for example in examples
        for turns in (example.chosen, example.rejected)
    ]
    found = _each(
        template, asked, now or datetime.now(), lambda at, written: written.tokens("answers", firsts[at // 2])
    )
    return [_both(chosen, rejected) for chosen, rejected in zip(found[::2], found[1::2], strict=True)]


def _both(chosen: Tokens | GenerateError, rejected: Tokens | GenerateError) -> tuple[Tokens, Tokens] | GenerateError:
    if isinstance(chosen, GenerateError):
        return chosen
    return rejected if isinstance(rejected, GenerateError) else (chosen, rejected)


class _Asked(NamedTuple):
    """A conversation that is to be written."""

    turns: Sequence[Message]
    tools: Sequence[Tool]


def _each(
    template: ChatTemplate, asked: Sequence[_Asked], now: datetime, tokens: Callable[[int, "_Written"], Tokens]
) -> list[Tokens | GenerateError]:
    """The tokens of conversations, by what gives them from the number of one and from what was written."""
    rendered = template.render_each(asked, answer=False, now=now)
    encoded = iter(template.encode_each([one for one in rendered if isinstance(one, Rendered)]))
    found: list[Tokens | GenerateError] = []
    for at, (one, written) in enumerate(zip(asked, rendered, strict=True)):
        if isinstance(written, GenerateError):
            found.append(written)
            continue
        ids = next(encoded)
        if isinstance(ids, GenerateError):
            found.append(ids)
            continue
        try:
            found.append(tokens(at, _Written(template, one, written, ids, now)))
        except GenerateError as error:
            found.append(error)
    return found


class _Written:
    """A conversation that a template has written."""

    def __init__(
        self, template: ChatTemplate, asked: _Asked, rendered: Rendered, ids: list[int], now: datetime
    ) -> None:
        self._template, self._now, self._rendered, self._ids = template, now, rendered, ids
        self._turns, self._tools = asked
        self._asked = [at for at, turn in enumerate(self._turns) if turn.role == "assistant"]

    def tokens(self, learn: Learn, first: int = 0) -> Tokens:
        """Its tokens; of its answers those from the `first` on are learned."""
        tokenizer, text, ids = self._template.tokenizer, self._rendered.text, self._ids
        begins = ids[:1] == [tokenizer.bos_id]
        if learn == "everything":
            learned = [True] * len(ids)
        else:
            spans = self._answers(self._asked[-1:] if learn == "last-answer" else self._asked[first:])
            before = int(begins and not text.startswith(tokenizer.piece(tokenizer.bos_id)))
            learned = [False] * before + tokens_within(tokenizer, text, ids[before:], spans, self._beginning)
        if begins:
            learned[0] = False
        if self._turns[-1].role == "assistant" and not self._closed():
            ids, learned = [*ids, tokenizer.eos_id], [*learned, True]
        return Tokens(ids, learned)

    def _beginning(self, end: int) -> list[int]:
        template, rendered = self._template, self._rendered
        return encode(template.tokenizer, template.controls, rendered.text[:end], rendered.origins[:end])

    def _answers(self, asked: Sequence[int]) -> list[Span]:
        """Where the answers of these turns are, each with what ends it."""
        spans = list(self._rendered.answers)
        if len(spans) != len(self._asked):
            spans = self._runs()
        if len(spans) != len(self._asked):
            return [self._between(at) for at in asked]
        kept = spans[len(spans) - len(asked) :]
        return [(begin, _end_behind(self._template, self._rendered, end)) for begin, end in kept]

    def _runs(self) -> list[Span]:
        """The stretches that the model wrote; none where they are not its answers one by one."""
        turns = [self._turns[at] for at in self._asked]
        if not self._rendered.exact or any(turn.tool_calls or not turn.content.strip() for turn in turns):
            return []
        runs = _runs_in(self._rendered)
        if len(runs) != len(turns):
            return []
        kept = self._spaces(runs, turns)
        return [(begin - before, end + after) for (begin, end), (before, after) in zip(runs, kept, strict=True)]

    def _spaces(self, runs: Sequence[Span], turns: Sequence[Message]) -> list[Span]:
        """How many of the spaces before and behind each answer are its own, which say of nobody who wrote them.

        The conversation is written again without them. Those that the template does not pass on, or writes itself,
        are as many as before.
        """
        none = [(0, 0)] * len(runs)
        if all(turn.content == turn.content.strip() for turn in turns):
            return none
        bare = [
            replace(turn, content=turn.content.strip()) if turn.role == "assistant" else turn for turn in self._turns
        ]
        rendered = self._template.render(bare, tools=self._tools, answer=False, now=self._now)
        others = _runs_in(rendered)
        if len(others) != len(runs):
            return none
        around, without = _spaces_around(self._rendered.text, runs), _spaces_around(rendered.text, others)
        return [
            (max(0, before - less[0]), max(0, after - less[1]))
            for (before, after), less in zip(around, without, strict=True)
        ]

    def _between(self, at: int) -> Span:
        """Where the answer of a turn is: from what the template writes before it to what it writes with it."""
        text, write = self._rendered.text, self._write
        until = write(self._turns[: at + 1], answer=False).rstrip()
        before = write(self._turns[:at], answer=False) if at else ""
        if not text.startswith(until) or not until.startswith(before):
            raise GenerateError(
                f"messages[{at}]: the model's chat template writes this answer, or what is before it, differently "
                "when the conversation goes on, so that it cannot be learned",
                hint='learn = "last-answer", or {% generation %} blocks in the template, say what is to be learned',
            )
        # What is written to ask for an answer may go on with what only new answers begin with.
        asking = write(self._turns[:at], answer=True) if at else ""
        return common(asking, until), len(until)

    def _write(self, turns: Sequence[Message], *, answer: bool) -> str:
        return self._template.text(turns, tools=self._tools, answer=answer, now=self._now)

    def _closed(self) -> bool:
        """Whether the template has ended the last turn."""
        return _ended(self._template, self._rendered, len(self._rendered.text.rstrip()))


def _runs_in(rendered: Rendered) -> list[Span]:
    """The stretches of a text that the model wrote, with the spaces inside of them, which have no origin."""
    runs: list[Span] = []
    for begin, end in (found.span() for found in _RUN.finditer(rendered.origins)):
        if runs and not rendered.text[runs[-1][1] : begin].strip():
            begin = runs.pop()[0]
        runs.append((begin, end))
    return runs


def _spaces_around(text: str, spans: Sequence[Span]) -> list[Span]:
    """How many spaces and line ends are right before and right behind each part of a text."""
    counts = []
    for begin, end in spans:
        first = begin
        while first and text[first - 1].isspace():
            first -= 1
        counts.append((begin - first, _behind_spaces(text, end) - end))
    return counts


def _behind_spaces(text: str, at: int) -> int:
    """The first place from `at` on where there is no space or line end; without a copy of a long text."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _ended(template: ChatTemplate, rendered: Rendered, at: int) -> bool:
    """Whether the template has written the end of a turn right before a place."""
    found = (len(end) for end in template.ends if rendered.text.endswith(end, 0, at))
    return any(not any(rendered.origins[at - size : at]) for size in found)


def _end_behind(template: ChatTemplate, rendered: Rendered, at: int) -> int:
    """The place behind the end of a turn that follows at `at`, spaces before it aside; `at` where none follows."""
    text = rendered.text
    start = _behind_spaces(text, at)
    end = start + max((len(end) for end in template.ends if text.startswith(end, start)), default=0)
    if end == start or any(rendered.origins[start:end]) or _ended(template, rendered, at):
        return at
    return end
