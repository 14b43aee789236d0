"""The format `preferences`: rows with two answers to the same turns, of which one is preferred.

| a row has | which is the form of |
|---|---|
| `prompt` (or `question`, `instruction`), and `chosen` and `rejected`, each text or turns | TRL, explicit prompt |
| the same, and the answers repeat the prompt's turns | UltraFeedback, binarized |
| `chosen` and `rejected`: two conversations that begin alike | TRL, implicit prompt |
| `chosen` and `rejected`: two texts of `Human:` and `Assistant:` that begin alike | Anthropic's HH |

Each may have a `system` prompt, the `tools` that its turns call, and the name of its `task`. Columns with other names
are named by `data.sources.NAME.columns`. Where answers repeat turns, what both have in common is the prompt; the rest
is the two answers.
"""

import re
from typing import Any

from puna.chat.example import Example
from puna.chat.messages import Message, Role
from puna.data.document import Raw
from puna.data.readers.conversations import TOOLS, as_turns, system_turn
from puna.data.readers.example_rows import (
    NO_ANSWER,
    NO_COLUMNS,
    ExamplesReader,
    RowError,
    damage_of,
    reasons_of,
)
from puna.data.readers.turns import check_answers, read_functions
from puna.data.spec import ReaderSpec
from puna.data.text.decode import turn_text

SAME, NO_PROMPT = "same", "no_prompt"
_PROMPT = ("prompt", "question", "instruction")
_SHOWN = 12
"""Columns that an error names."""
_SPEAKER = re.compile(r"(?:\A|\n\n)(Human|Assistant):[ ]?")
_ROLES: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}


class PreferencesReader(ExamplesReader):
    """Reads rows with two answers each."""

    form = "preferences"

    def example(self, row: dict[str, Any], raw: Raw) -> Example:
        """The two answers in a row, and the turns that both answer."""
        good, chosen = self.value(row, "chosen", ("chosen",))
        bad, rejected = self.value(row, "rejected", ("rejected",))
        if not good or not bad:
            raise RowError(NO_COLUMNS, f"it has {', '.join(list(row)[:_SHOWN]) or 'nothing'}")
        name, prompt = self.value(row, "prompt", _PROMPT)
        begin = _asked(prompt, name) if name else ()
        answers = [_conversation(value, where, begin) for value, where in ((chosen, good), (rejected, bad))]
        common = _common(*answers)
        before, left, right = answers[0][:common], answers[0][common:], answers[1][common:]
        if answers[0] == answers[1]:
            raise RowError(SAME, f"{good} and {bad} are the same")
        for answer, where in ((left, good), (right, bad)):
            if not answer or answer[0].role != "assistant":
                raise RowError(NO_ANSWER, f"{where} has no answer where the two begin to differ")
            check_answers(answer, where)
        if not any(turn.role == "user" for turn in before):
            raise RowError(NO_PROMPT, f"{good} and {bad} answer nothing that both have in common")
        messages = (*system_turn(self, row, before), *before)
        name, functions = self.value(row, "tools", TOOLS)
        return Example(
            messages=messages, chosen=left, rejected=right, task=self.task_of(row),
            tools=read_functions(functions, name),
        )  # fmt: skip


def _asked(value: Any, where: str) -> tuple[Message, ...]:
    """The turns of a column of the prompt; a text in Anthropic's form ends with an `Assistant:` that says nothing."""
    spoken = _spoken(value) if isinstance(value, str) else ()
    if spoken and spoken[0].role == "user" and spoken[-1] == Message("assistant", ""):
        return spoken[:-1]
    return as_turns(value, where, "user")


def _conversation(value: Any, where: str, begin: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns of the prompt and of an answer, whether the answer repeats the prompt or not."""
    if isinstance(value, str):
        if begin:
            return (*begin, Message("assistant", turn_text(value)))
        if not (spoken := _spoken(value)):
            raise RowError(NO_PROMPT, f"{where} is text without Human: and Assistant:, and there is no prompt")
        return spoken
    turns = as_turns(value, where, "assistant")
    if not begin or turns[0].role == begin[0].role == "system":
        return turns
    if turns[0].role == "assistant":
        return (*begin, *turns)
    return (*(turn for turn in begin[:1] if turn.role == "system"), *turns)


def _spoken(text: str) -> tuple[Message, ...]:
    """The turns of a text in Anthropic's form; none if it does not begin like one."""
    text = turn_text(text)
    marks = list(_SPEAKER.finditer(text))
    if not marks or text[: marks[0].start()].strip():
        return ()
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return tuple(
        Message(_ROLES[mark[1]], text[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)
    )


def _common(left: tuple[Message, ...], right: tuple[Message, ...]) -> int:
    """How many turns two conversations have in common at their beginning."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))


READER = ReaderSpec(
    name="preferences",
    make=PreferencesReader,
    reads="two answers per row, of which one is preferred",
    reasons=reasons_of("preferences")
    | {
        f"preferences.{SAME}": "Its two answers are the same, so that none is preferred.",
        f"preferences.{NO_PROMPT}": "Its two answers have no turn of a user in common which both answer.",
    },
    damage=damage_of("preferences"),
)
