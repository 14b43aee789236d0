"""Multiple-choice questions: from the parts of a question to what a model is asked, with solved examples before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from puna.evaluate.example import Choose, Example, Option, Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """The parts of a question."""

    context: str | tuple[str, ...]
    """What is read before the options; a tuple where each option has its own, and the options are one ending."""
    texts: tuple[str, ...]
    """The options, without what sets them off."""
    gold: tuple[int, ...]
    """The right ones, mostly one. Solved examples show the first of them."""
    category: str = ""

    def pair(self, place: int) -> tuple[str, str]:
        """Context and text of one option."""
        return (self.context if isinstance(self.context, str) else self.context[place]), self.texts[place]


def asks(
    choices: Callable[[Row], Choices],
    *,
    header: Callable[[Row], str] = lambda row: "",
    before: str = " ",
    between: str = "\n\n",
    own: str = "",
) -> Callable[[Row, Sequence[Row], str], Example]:
    """The `example` of a task: which option is the likeliest after the solved examples and the question.

    Args:
        choices: The parts of a row's question, of solved rows too.
        header: What precedes everything, by the row that is asked about.
        before: Sets an option off from its context.
        between: Follows each solved example.
        own: The context after which each option's own likelihood is asked too, such as "Answer:"; empty: it is not.
    """

    def example(row: Row, shots: Sequence[Row], id: str) -> Example:
        solved = header(row) + "".join(_solved(choices(shot), before) + between for shot in shots)
        asked = choices(row)
        pairs = [asked.pair(place) for place in range(len(asked.texts))]
        options = tuple(
            Option(context=solved + context, continuation=before + text, text=text) for context, text in pairs
        )
        alone = tuple((own, option.continuation) for option in options) if own else ()
        return Example(id=id, ask=Choose(options=options, gold=asked.gold, own=alone), category=asked.category)

    return example


def _solved(choices: Choices, before: str) -> str:
    context, text = choices.pair(choices.gold[0])
    return context + before + text
