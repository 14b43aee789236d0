"""A judged document as a line of an evaluation's `documents/`, and its answer back from there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from puna.core.schema.evaluation import DocumentLine, OwnLikelihood, ScoredText, WrittenText
from puna.core.schema.lines import Number
from puna.evaluate.example import Answer, Choose, Continue, Example, Judged, Likelihood, Read, Write, Written


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What is known of a document once it was asked, without its texts."""

    id: str
    answer: Answer
    values: Mapping[str, float | None]
    shown: Mapping[str, Any]

    def judged(self, example: Example) -> Judged:
        """The same with what was asked."""
        return Judged(example=example, answer=self.answer, values=self.values, shown=self.shown)


def line_of(judged: Judged) -> DocumentLine:
    """The line of a document; a context that all its options share is in it once."""
    example, answer = judged.example, judged.answer
    ask = example.ask
    common: dict[str, Any] = {
        "id": example.id, "category": example.category, "facts": dict(example.facts), "values": dict(judged.values),
        "shown": dict(judged.shown),
    }  # fmt: skip
    match ask:
        case Choose():
            contexts = {option.context for option in ask.options}
            shared = contexts.pop() if len(contexts) == 1 else ""
            options = [
                _scored(
                    found,
                    continuation=option.continuation,
                    text=option.text,
                    context=None if option.context == shared else option.context,
                )
                for option, found in zip(ask.options, answer.likelihoods, strict=True)
            ]
            if ask.own:
                options = [
                    option.model_copy(update={"own": _own(*texts, found)})
                    for option, texts, found in zip(options, ask.own, answer.own, strict=True)
                ]
            return DocumentLine(kind="choose", context=shared, options=options, gold=list(ask.gold), **common)
        case Continue():
            (found,) = answer.likelihoods
            option = _scored(found, continuation=ask.target, text=ask.text, context=None)
            return DocumentLine(kind="continue", context=ask.context, options=[option], gold=[0], **common)
        case Read():
            options = [
                _scored(found, continuation=text, text=text, context=None)
                for text, found in zip(ask.texts, answer.likelihoods, strict=True)
            ]
            return DocumentLine(kind="read", options=options, **common)
        case Write():
            written = [
                WrittenText(text=one.text, tokens=one.tokens, finish=one.finish, cut=one.cut) for one in answer.written
            ]
            return DocumentLine(kind="write", context=ask.prompt, written=written, **common)


def answered(line: DocumentLine) -> Answered:
    """The answer that a line holds."""
    likelihoods = tuple(_likelihood(option) for option in line.options)
    own = tuple(_likelihood(option.own) for option in line.options if option.own is not None)
    written = tuple(Written(text=one.text, tokens=one.tokens, finish=one.finish, cut=one.cut) for one in line.written)
    answer = Answer(likelihoods=likelihoods, own=own, written=written)
    return Answered(id=line.id, answer=answer, values=line.values, shown=line.shown)


def _scored(found: Likelihood, *, continuation: str, text: str, context: str | None) -> ScoredText:
    return ScoredText(
        context=context, continuation=continuation, text=None if text == continuation else text,
        logprob=_number(found.logprob), tokens=found.tokens, greedy=found.greedy, cut=found.cut, moved=found.moved,
    )  # fmt: skip


def _own(context: str, continuation: str, found: Likelihood) -> OwnLikelihood:
    return OwnLikelihood(
        context=context, continuation=continuation, logprob=_number(found.logprob), tokens=found.tokens,
        greedy=found.greedy, cut=found.cut, moved=found.moved,
    )  # fmt: skip


def _likelihood(line: ScoredText | OwnLikelihood) -> Likelihood:
    return Likelihood(
        logprob=float(line.logprob), tokens=line.tokens, greedy=line.greedy, cut=line.cut, moved=line.moved
    )


def _number(logprob: float) -> Number:
    """JSON has no minus infinity, which is the logarithm of an impossible continuation's probability."""
    return "-inf" if logprob == float("-inf") else logprob
