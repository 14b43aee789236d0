"""Whether a chat template writes a conversation that goes on as it wrote it before, with more behind.

Training sees a whole conversation, and answering sees its beginnings. Where a template trims earlier reasoning, moves
the system prompt, or writes the day, these differ: what was learned is not quite what is asked later, and no beginning
is found in the engine's cache. Such templates are common, and work; who tunes with one should know it.
"""

from datetime import datetime

from puna.chat.messages import Message
from puna.chat.template import ChatTemplate
from puna.core.errors import GenerateError

_TALK = (
    Message("system", "s"), Message("user", "q"), Message("assistant", "<think>r</think>a"), Message("user", "p"),
    Message("assistant", "<think>t</think>b"),
)  # fmt: skip
_DAYS = (datetime(2026, 1, 31, 9, 30), datetime(2027, 12, 4, 17, 45))


def rewrites(template: ChatTemplate) -> list[str]:
    """A phrase for each way in which the beginnings of a conversation are not what the whole begins with.

    Args:
        template: Any. One that takes no system prompt is tried without.
    """
    turns = _TALK
    try:
        template.text(turns[:2], now=_DAYS[0])
    except GenerateError:
        turns = _TALK[1:]
    try:
        return _found(template, turns)
    except GenerateError:
        return ["it does not take a conversation of a user and an assistant"]


def _found(template: ChatTemplate, turns: tuple[Message, ...]) -> list[str]:
    def text(end: int, *, answer: bool = False) -> str:
        return template.text(turns[:end], answer=answer, now=_DAYS[0])

    asked = [at for at, turn in enumerate(turns) if turn.role == "assistant"]
    whole, found = text(len(turns)), []
    if not all(whole.startswith(text(at + 1).rstrip()) for at in asked):
        found.append("it writes an answer differently when the conversation goes on")
    if not all(whole.startswith(text(at)) for at in asked):
        found.append("it writes earlier turns differently when the conversation goes on")
    elif not all(text(at + 1).startswith(text(at, answer=True)) for at in asked):
        found.append("it begins a new answer differently from a given one")
    if whole != template.text(turns, answer=False, now=_DAYS[1]):
        found.append("it writes the day")
    return found
