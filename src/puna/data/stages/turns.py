"""Examples of instruction tuning on their way through a build: text and turns never say different things."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from puna.chat.example import Example
from puna.chat.messages import Message
from puna.config.data import EXAMPLES, DataConfig
from puna.core.errors import DataError
from puna.data.document import Document, Dropped, Rule
from puna.data.spec import RuleSpec
from puna.data.table import describe, find_rule
from puna.data.tasks.counts import NOT_TOLD, Counts, add_text

_PARTS = ("messages", "chosen", "rejected")
_MOST_TASKS = 10_000
"""Names of tasks that one file's figures tell apart: data may have one for each row."""
OTHER_TASKS = "other tasks"
"""Stands for all others."""


def apply_rule(spec: RuleSpec, rule: Rule, document: Document) -> Document | Dropped:
    """A document after a rule: of one with turns each turn by itself, where the rule changes characters.

    Raises:
        DataError: The rule changes the text of a conversation as a whole.
    """
    if not document.turns:
        return rule(document)
    if spec.changes == "characters":
        return _turn_by_turn(rule, document)
    verdict = rule(document)
    if isinstance(verdict, Document) and verdict.text != document.text:
        raise DataError(
            f"{describe(spec)} has changed the text of {document.source}/{document.id}, whose turns would then say "
            "something else",
            hint=f'take it out of data.sources.{document.source}.clean, or give its RuleSpec changes = "characters"',
        )
    return verdict


def refuse_rules_of_lines(data: DataConfig) -> None:
    """Nothing, if no source of examples passes through a rule that takes lines out of texts.

    Raises:
        DataError: One does.
    """
    for name, source in data.sources.items():
        rules = [rule for rule in source.clean if find_rule(rule).changes == "lines"]
        if source.format in EXAMPLES and rules:
            raise DataError(
                f"data.sources.{name}.clean: {rules[0]!r} takes lines out of texts, and a conversation without some of "
                "its lines is another one",
                hint="leave it out; rules that only judge a text, and those that mask parts of it, work here",
            )


def conversation_of(turns: str) -> str:
    """The turns of an example without the name of its task: two with equal ones are the same to learn from."""
    fields = orjson.loads(turns)
    fields.pop("task", None)
    return orjson.dumps(fields).decode()


def count_example(counts: Counts, turns: str, size: int) -> None:
    """Add an example that stays to the figures of the card: its turns, answers and task.

    Args:
        counts: Where they are added up.
        turns: Its `Document.turns`.
        size: Bytes of its text.
    """
    fields = orjson.loads(turns)
    said = [turn for part in _PARTS for turn in fields.get(part, ())]
    figures = counts.setdefault("examples", {"turns": 0, "answers": 0, "pairs": 0})
    figures["turns"] += len(said)
    figures["answers"] += sum(turn["role"] == "assistant" for turn in said)
    figures["pairs"] += "chosen" in fields
    task, tasks = fields.get("task") or NOT_TOLD, counts.setdefault("tasks", {})
    add_text(tasks, [task if task in tasks or len(tasks) < _MOST_TASKS else OTHER_TASKS], size)


class _DroppedTurnError(Exception):
    """A rule drops a turn, and with it the conversation."""

    def __init__(self, verdict: Dropped) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


def _turn_by_turn(rule: Rule, document: Document) -> Document | Dropped:
    """The document after a rule has looked at each of its turns; scores of turns are added up."""
    example = Example.parse(document.turns, document.id)
    scores: dict[str, float] = {}

    def edited(text: str) -> str:
        if not text:
            return text
        verdict = rule(replace(document, text=text, turns="", scores={}))
        if isinstance(verdict, Dropped):
            raise _DroppedTurnError(verdict)
        for name, score in verdict.scores.items():
            scores[name] = scores.get(name, 0.0) + score
        return verdict.text

    try:
        parts = [tuple(_edited(turn, edited) for turn in turns) for turns in _parts(example)]
    except _DroppedTurnError as dropped:
        return replace(dropped.verdict, text=document.text)
    messages, chosen, rejected = parts
    changed = replace(example, messages=messages, chosen=chosen, rejected=rejected)
    scored = replace(document, scores=document.scores | scores) if scores else document
    return scored if changed == example else replace(scored, text=changed.text, turns=changed.json())


def _parts(example: Example) -> tuple[tuple[Message, ...], ...]:
    return example.messages, example.chosen, example.rejected


def _edited(turn: Message, edited: Callable[[str], str]) -> Message:
    calls = tuple(replace(call, arguments=_edited_json(call.arguments, edited)) for call in turn.tool_calls)
    return replace(turn, content=edited(turn.content), tool_calls=calls)


def _edited_json(text: str, edited: Callable[[str], str]) -> str:
    value = json.loads(text)
    changed = _in_strings(value, edited)
    return text if changed == value else json.dumps(changed, ensure_ascii=False)


def _in_strings(value: Any, edited: Callable[[str], str]) -> Any:
    """A value of JSON with its strings edited; keys are names of parameters and stay."""
    if isinstance(value, str):
        return edited(value)
    if isinstance(value, list):
        return [_in_strings(part, edited) for part in value]
    return {key: _in_strings(part, edited) for key, part in value.items()} if isinstance(value, dict) else value
