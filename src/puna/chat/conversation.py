"""A conversation that goes on: turns are added and taken back, and the oldest are left out when the context is full."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from puna.chat.messages import Message
from puna.chat.template import ChatTemplate, PlainText
from puna.core.errors import GenerateError

_ROOM = 4
"""An answer has room for a quarter of the context at least, or for all tokens that it may have. Chosen here: a prompt
that fills the context to the last token is answered by one."""
_KEPT = 2
"""Of a full context, half is kept, so that the next turns fit, too, and find their beginning in the engine's cache."""


@dataclass(frozen=True)
class Fitted:
    """The part of a conversation that a model can read."""

    ids: list[int]
    left_out: int
    """Turns after the system prompt that are not in it."""


def fit(
    template: ChatTemplate | PlainText, messages: Sequence[Message], *, context: int, max_tokens: int, left_out: int = 0
) -> Fitted:
    """The ids of a conversation, without its oldest turns where it does not fit into the context.

    The system prompt always stays, and so does the last turn. What is kept begins with a user's turn, as templates
    expect it.

    Args:
        template: Writes the turns.
        messages: All turns; a system prompt is the first.
        context: Tokens that the model can read and write.
        max_tokens: Tokens that the answer may have.
        left_out: Turns after the system prompt that were left out before.

    Raises:
        GenerateError: The system prompt and the last turn do not fit, or the template does not take these turns.
    """
    head = [message for message in messages[:1] if message.role in ("system", "developer")]
    turns = messages[len(head) :]
    starts = [at for at, turn in enumerate(turns) if turn.role == "user" and at >= left_out] or [0]
    most = context - max(1, min(max_tokens, context // _ROOM))

    def ids_from(start: int) -> list[int]:
        return template.ids([*head, *turns[start:]])

    ids = ids_from(left_out)
    if len(ids) <= most:
        return Fitted(ids, left_out)
    last = len(starts) - 1
    at = min(last, bisect_left(starts, True, key=lambda start: len(ids_from(start)) <= context // _KEPT))
    if len(ids := ids_from(starts[at])) <= most:
        return Fitted(ids, starts[at])
    raise GenerateError(
        f"this turn{' and the system prompt take' if head else ' takes'} {len(ids):,} tokens, but the model's context "
        f"is {context:,} and {context - most:,} of them are kept for the answer",
        hint="shorten it",
    )


class Conversation:
    """The turns of a conversation and what of them the model reads.

    Args:
        template: Writes the turns for the model.
        context: Tokens that the model can read and write.
        system: The system prompt; empty for none.
    """

    def __init__(self, template: ChatTemplate | PlainText, context: int, system: str = "") -> None:
        self._template, self._context = template, context
        self.system = system
        self.turns: list[Message] = []
        """All turns after the system prompt, also those that the model no longer reads."""
        self.left_out = 0
        """Turns at the beginning that the model no longer reads."""

    @property
    def messages(self) -> list[Message]:
        """The system prompt, if there is one, and all turns."""
        return [Message("system", self.system)] * bool(self.system) + self.turns

    def ask(self, text: str, max_tokens: int) -> list[int]:
        """Add a user's turn; the ids that the model continues, without the oldest turns if the context is full.

        Args:
            text: What the user says.
            max_tokens: Tokens that the answer may have.

        Raises:
            GenerateError: The turn cannot be read; the conversation is as before.
        """
        self.turns.append(Message("user", text))
        try:
            fitted = fit(
                self._template, self.messages, context=self._context, max_tokens=max_tokens, left_out=self.left_out
            )
        except BaseException:  # Ctrl-C among them
            self.turns.pop()
            raise
        self.left_out = fitted.left_out
        return fitted.ids

    def answer(self, text: str) -> None:
        """Add what the model has answered."""
        self.turns.append(Message("assistant", text))

    def undo(self) -> str | None:
        """Take back the last turn of the user and what followed it; what the user said, None if there is none."""
        asked = [at for at, turn in enumerate(self.turns) if turn.role == "user"]
        if not asked:
            return None
        taken = self.turns[asked[-1]].content
        del self.turns[asked[-1] :]
        self.left_out = min(self.left_out, len(self.turns))
        return taken

    def reset(self) -> None:
        """Begin again, with the same system prompt."""
        self.turns.clear()
        self.left_out = 0

    def replace(self, messages: Sequence[Message]) -> None:
        """Take the turns of another conversation, its system prompt among them, in place of these."""
        begins = bool(messages) and messages[0].role == "system"
        self.system = messages[0].content if begins else ""
        self.turns = [*messages[begins:]]
        self.left_out = 0
