"""A conversation as token ids, by the model's chat template; what people type never becomes a control token.

**Who wrote what.** A template is a program that mixes its own text with that of the messages, trims it, or cuts it.
To know afterwards which characters are whose, the conversation is rendered a second time with every character of a
message, a call or a tool's description, spaces excepted, replaced by a stand-in (`puna.chat.stand_ins`). Where putting
the characters back gives the same text as the first rendering, the template has passed the messages on as they are, and
the stand-ins mark what was typed. All the rest it wrote without having seen a word of the messages.

**Templates that look into messages**, for `</think>` or to quote them as JSON, write something else then. For these,
only the first character of each control token in a message has a stand-in. The conversation is refused if that changes
what is written, or if special tokens then are not those of the first way, in which nobody but the template could write
them.

**Tags that are text.** LLaMA 2's template writes `[INST]`, and many others `<|im_start|>`, for models whose tokenizers
have no such tokens. Such a tag in what was typed could not be told from the template's, so it is refused, as Meta's own
code does (llama, generation.py, 2023).

**The end of a turn** is what the template writes behind an answer. Files often name it nowhere else, and a model that
was tuned with it would go on with the user's next turn.

**BOS** comes first exactly once: the template writes it, or it is put there if the tokenizer's files ask for it
(`Tokenizer.add_bos`), as before any text.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from puna.chat.controls import ANSWER, TYPED, controls_of, encode_each
from puna.chat.messages import Message, Messages, read_messages
from puna.chat.renderer import Given, renderer
from puna.chat.stand_ins import Said, StandIns
from puna.chat.tool_calls import ToolForm
from puna.chat.tool_form import find_form, takes_tools
from puna.chat.tools import Tool, ToolCall, Tools, read_tools
from puna.core.errors import GenerateError
from puna.tokenizer.bos import prompt_ids
from puna.tokenizer.tokenizer import Tokenizer

_PRIVATE = (range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE), range(0xE000, 0xF900))
"""Unicode's private characters (chapter 23.5): neither letters nor spaces, with no upper case."""
_TAG = re.compile(r"<\|[^|<>\s]{1,40}\|>|\[/?[A-Z_]{2,}\]|<</?[A-Z]{2,}>>|</?s>")
"""What templates mark turns with, where it is not a control token."""
_SOME_DAY = datetime(2026, 1, 31)
"""When the form of calls is looked for: a date that changes meanwhile must not look like a part of it."""
_UNMARKED = ("", "")
"""Nothing around answers."""
_TOO_MANY = "the conversation has more different characters than can be told apart"
_Wanted: TypeAlias = tuple[Said, tuple[str, str]]
"""What is to be written, and what is put around its answers."""
_CALL = ToolCall("q1w2e3r4t", "call", "{}")


@dataclass(frozen=True)
class TurnEnd:
    """What ends an answer besides the end of a text."""

    tokens: frozenset[int] = frozenset()
    """The control token behind an answer, if there is one."""
    texts: tuple[str, ...] = ()
    """The tag behind an answer, where it is text."""


@dataclass(frozen=True)
class Rendered:
    """What a template wrote for a conversation."""

    text: str
    """Without the token that begins a text, where the template leaves that to the tokenizer."""
    origins: bytes
    """Of each character whether the template wrote it, the model, or somebody else (`puna.chat.controls`)."""
    answers: tuple[tuple[int, int], ...]
    """Begin and end of what stands in `{% generation %}` blocks, in characters; what tuning learns from."""
    exact: bool
    """Whether `origins` tell of every character but spaces; else only control tokens in messages are told apart."""


class ChatTemplate:
    """The template of a model, ready to write conversations.

    Args:
        source: Jinja, as `chat_template.jinja` has it.
        tokenizer: The model's.
    """

    def __init__(self, source: str, tokenizer: Tokenizer) -> None:
        self.source = source
        self.tokenizer = tokenizer
        self.controls = controls_of(tokenizer, source)
        """The tokens that structure a conversation."""
        self._tags = {*_TAG.findall(source)} - {control.text for control in self.controls}
        renderer.start()

    @cached_property
    def turn_end(self) -> TurnEnd:
        """What ends an answer, as the template writes it before the next turn."""
        turns = [Message("user", "q"), Message("assistant", "a"), Message("user", "q")]
        try:
            rendered = self.render(turns, answer=False)
        except GenerateError:  # a template for other conversations
            return TurnEnd()
        at = rendered.origins.rfind(ANSWER)
        behind = rendered.text[at + 1 :].lstrip() if at >= 0 else ""
        found = [control for control in self.controls if behind.startswith(control.text)]
        if found:
            return TurnEnd(tokens=frozenset({max(found, key=lambda control: len(control.text)).token}))
        tag = _TAG.match(behind)
        return TurnEnd(texts=(tag[0],) if tag else ())

    @cached_property
    def ends(self) -> list[str]:
        """The texts of what ends an answer: `turn_end`, and the tokens at which generating ends."""
        tokens = {*self.turn_end.tokens, *self.tokenizer.stops}
        return [*self.turn_end.texts, *map(self.tokenizer.piece, tokens)]

    @cached_property
    def takes_tools(self) -> bool:
        """Whether the template writes down the tools that it is given."""
        return takes_tools(self._write_turns)

    @cached_property
    def tool_form(self) -> ToolForm | None:
        """How the template writes calls of tools; None where it leaves tools out, or writes no form that is known."""
        return find_form(self._write_turns, self.controls) if self.takes_tools else None

    def ids(
        self, messages: Messages, *, tools: Tools = (), answer: bool = True, now: datetime | None = None
    ) -> list[int]:
        """The token ids of a conversation, BOS first if the model's texts begin with it.

        Args:
            messages: The turns.
            tools: Functions that the model may call. A template that does not know tools leaves them out.
            answer: Whether the template begins the model's turn at the end, so that what follows is its answer.
            now: The time that the template may write; None is the present.

        Raises:
            GenerateError: The template does not take these messages, or one of them has the text of a control token
                that cannot be read as text.
        """
        return self.encode(self.render(messages, tools=tools, answer=answer, now=now))

    def encode(self, rendered: Rendered) -> list[int]:
        """The token ids of what `render` gave, as `ids` has them."""
        (ids,) = self.encode_each([rendered])
        if isinstance(ids, GenerateError):
            raise ids
        return ids

    def encode_each(self, each: Sequence[Rendered]) -> list[list[int] | GenerateError]:
        """`encode` of many conversations, or why one of them has no ids; in less time than one by one."""
        bos = [self.tokenizer.bos_id] if self.tokenizer.add_bos else []
        encoded = encode_each(self.tokenizer, self.controls, [(one.text, one.origins) for one in each])
        return [ids if isinstance(ids, GenerateError) or ids[:1] == bos else bos + ids for ids in encoded]

    def text(self, messages: Messages, *, tools: Tools = (), answer: bool = True, now: datetime | None = None) -> str:
        """What the template writes, as `render` has it, without asking who wrote which part."""
        return self._write(self._said(messages, tools), answer, now or datetime.now())

    def render(
        self, messages: Messages, *, tools: Tools = (), answer: bool = True, now: datetime | None = None
    ) -> Rendered:
        """What the template writes, and who wrote which part of it; arguments and errors as `ids` has them."""
        (rendered,) = self.render_each([(messages, tools)], answer=answer, now=now)
        if isinstance(rendered, GenerateError):
            raise rendered
        return rendered

    def render_each(
        self, conversations: Iterable[tuple[Messages, Tools]], *, answer: bool = True, now: datetime | None = None
    ) -> list[Rendered | GenerateError]:
        """`render` of many conversations, or why one of them is not written; in less time than one by one.

        Args:
            conversations: The turns of each, and its tools.
            answer: As `ids` has it.
            now: As `ids` has it.
        """
        now = now or datetime.now()
        taken = [self._taken(messages, tools) for messages, tools in conversations]
        begun = self._begin([one for one in taken if isinstance(one, Said)])
        texts = self._write_all([one.wanted for one in begun if isinstance(one, _Begun)], answer, now)
        written, rest = iter(texts), iter(begun)
        found: list[Rendered | GenerateError] = []
        for said in taken:
            one = said if isinstance(said, GenerateError) else next(rest)
            found.append(one if isinstance(one, GenerateError) else self._end(one, next(written), answer, now))
        return found

    def _taken(self, messages: Messages, tools: Tools) -> Said | GenerateError:
        """A conversation as the template sees it."""
        try:
            said = self._said(messages, tools)
            self._refuse_tags(said)
        except GenerateError as error:
            return error
        return said

    def _begin(self, taken: Sequence[Said]) -> "list[_Begun | GenerateError]":
        """What is to be written for conversations, whose stand-ins are the same."""
        used = {*self.source}.union(*(text for said in taken for _, text, _ in said.texts()))
        free = (chr(code) for codes in _PRIVATE for code in codes if chr(code) not in used)
        try:
            marks = (next(free), next(free)) if "endgeneration" in self.source else _UNMARKED
            every = StandIns(free)
            return [_Begun(said, every, every.hide(said), free, marks) for said in taken]
        except StopIteration:
            if len(taken) == 1:
                return [GenerateError(_TOO_MANY)]
            return [one for said in taken for one in self._begin([said])]

    def _end(
        self, begun: "_Begun", texts: list[str] | GenerateError, answer: bool, now: datetime
    ) -> Rendered | GenerateError:
        """Who wrote what, as the texts show that `_begin` has asked for."""
        if isinstance(texts, GenerateError):
            return texts
        plain, marked = texts
        hidden = _without(marked, begun.marks)
        if begun.every.back(hidden) == plain:
            return Rendered(plain, begun.every.origins(hidden), _spans(marked, begun.marks), exact=True)
        try:
            return self._told_apart(begun, plain, answer, now)
        except GenerateError as error:
            return error
        except StopIteration:
            return GenerateError(_TOO_MANY)

    def _told_apart(self, begun: "_Begun", plain: str, answer: bool, now: datetime) -> Rendered:
        """Who wrote what, where the template looks into messages, or at what it wrote itself between the marks."""
        said, every, marks = begun.said, begun.every, begun.marks
        wanted = [(begun.hidden, _UNMARKED), *([(said, marks)] if any(marks) else [])]
        hidden, *others = self._write_each(wanted, answer, now)
        spans = _spans(others[0], marks) if others and _without(others[0], marks) == plain else ()
        if every.back(hidden) == plain:
            return Rendered(plain, every.origins(hidden), spans, exact=True)
        some = StandIns(begun.free)
        text = self._write(some.hide_controls(said, self.controls), answer, now)
        self._check(some.back(text) == plain, text, hidden)
        return Rendered(plain, some.origins(text), spans, exact=False)

    def _said(self, messages: Messages, tools: Tools) -> Said:
        turns = read_messages(messages)
        if "developer" not in self.source:
            turns = [replace(turn, role="system") if turn.role == "developer" else turn for turn in turns]
        calls = any(turn.tool_calls and not turn.content for turn in turns)
        return Said.of(turns, read_tools(tools), only_calls=self._only_calls if calls else None)

    @cached_property
    def _only_calls(self) -> str | None:
        """The content of a turn that only calls: none, or no characters where the template would write `None`."""
        turns = [Message("user", "q"), Message("assistant", "", tool_calls=(_CALL,))]

        def nones(content: str | None) -> int:
            try:
                return self._write(Said.of(turns, (), only_calls=content), False, _SOME_DAY).count("None")
            except GenerateError:
                return len(self.source)  # more than any text has

        return "" if nones("") < nones(None) else None

    def _write_turns(self, turns: Sequence[Message], tools: Sequence[Tool]) -> tuple[str, bytes]:
        rendered = self.render(turns, tools=tools, answer=False, now=_SOME_DAY)
        return rendered.text, rendered.origins

    def _refuse_tags(self, said: Said) -> None:
        if not self._tags:
            return
        for where, text, origin in said.texts():
            if origin != TYPED:
                continue
            if found := next((tag for tag in self._tags if tag in text), None):
                raise GenerateError(
                    f"{where}: holds {found}, with which the model's chat template marks turns",
                    hint="leave it out, or write it with a space inside",
                )

    def _check(self, same: bool, text: str, hidden: str) -> None:
        """Refuse a text in which control tokens with stand-ins are not those of the one in which all has stand-ins."""
        counts = [(control.text, text.count(control.text)) for control in self.controls if control.special]
        if same and all(hidden.count(control) == count for control, count in counts):
            return
        raise GenerateError(
            "a message holds the text of a control token, or a part of one, and the model's chat template changes what "
            "messages say, so that it cannot be kept apart",
            hint=f"leave out what looks like {', '.join(control.text for control in self.controls[:3])}",
        )

    def _write(self, said: Said, answer: bool, now: datetime) -> str:
        return self._write_each([(said, _UNMARKED)], answer, now)[0]

    def _write_each(self, each: Sequence[_Wanted], answer: bool, now: datetime) -> list[str]:
        """What the template writes for a conversation in several forms."""
        (texts,) = self._write_all([each], answer, now)
        if isinstance(texts, GenerateError):
            raise texts
        return texts

    def _write_all(
        self, each: Sequence[Sequence[_Wanted]], answer: bool, now: datetime
    ) -> list[list[str] | GenerateError]:
        """What the template writes for conversations, each in several forms, or why one is not written."""
        tokenizer = self.tokenizer
        common: dict[str, Any] = {
            "add_generation_prompt": answer,
            "bos_token": tokenizer.piece(tokenizer.bos_id),
            "eos_token": tokenizer.piece(tokenizer.eos_id),
            "documents": None,
        }
        if tokenizer.unk_id is not None:
            common["unk_token"] = tokenizer.piece(tokenizer.unk_id)
        given = [
            [Given({"messages": said.messages, "tools": said.tools, **common}, marks) for said, marks in wanted]
            for wanted in each
        ]
        written = renderer.render_all(self.source, given, now=now)
        return [texts if isinstance(texts, GenerateError) else _unicode(texts) for texts in written]


class _Begun(NamedTuple):
    """A conversation that is to be written."""

    said: Said
    every: StandIns
    """Stand-ins for every character of it."""
    hidden: Said
    """The conversation with these stand-ins."""
    free: Iterator[str]
    """More characters that occur nowhere."""
    marks: tuple[str, str]
    """What is put around answers."""

    @property
    def wanted(self) -> list[_Wanted]:
        """As it is, and with stand-ins and marks."""
        return [(self.said, _UNMARKED), (self.hidden, self.marks)]


def _unicode(texts: list[str]) -> list[str] | GenerateError:
    """The texts, whose first one is what is read."""
    try:
        texts[0].encode()
    except UnicodeEncodeError:
        return GenerateError("the model's chat template writes half of a surrogate pair")
    return texts


def _without(marked: str, marks: tuple[str, str]) -> str:
    """A text without the marks; one that trims what it wrote could have moved them, and then it is another text."""
    return marked.replace(marks[0], "").replace(marks[1], "") if any(marks) else marked


def _spans(marked: str, marks: tuple[str, str]) -> tuple[tuple[int, int], ...]:
    """Begin and end of each part that has marks around it, in the text without them."""
    if not any(marks):
        return ()
    spans, at = [], 0
    for number, part in enumerate(re.split("|".join(marks), marked)):
        if number % 2:
            spans.append((at, at + len(part)))
        at += len(part)
    return tuple(spans)


class PlainText:
    """The conversation of a model without a template: one text that grows, which the model continues.

    Args:
        tokenizer: The model's.
    """

    turn_end = TurnEnd()
    """Nothing: only the end of a text ends it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def ids(
        self, messages: Messages, *, tools: Tools = (), answer: bool = True, now: datetime | None = None
    ) -> list[int]:
        """The ids of all turns, each on a line of its own; none of them are control tokens but BOS.

        Args:
            messages: The turns.
            tools: None: nothing says how a call would be written.
            answer: Nothing follows the last turn in any case.
            now: Not written.

        Raises:
            GenerateError: `messages` are not turns, or there are tools.
        """
        if tools:
            raise GenerateError("the model has no chat template, so that it can be given no tools")
        return prompt_ids(self.tokenizer, "\n".join(turn.content for turn in read_messages(messages)))


def template_for(source: str | None, tokenizer: Tokenizer) -> ChatTemplate | PlainText:
    """What writes the conversations of a model: its template, or plain text where it has none.

    Args:
        source: The model's chat template, if it has one.
        tokenizer: The model's.
    """
    return PlainText(tokenizer) if source is None else ChatTemplate(source, tokenizer)
