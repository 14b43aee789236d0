"""Rules on conversations, what two of them have in common, and what is counted of them."""

from dataclasses import replace
from typing import Any

import pytest

from puna.chat.example import Example
from puna.chat.messages import Message
from puna.chat.tools import ToolCall
from puna.config.data import DataConfig
from puna.config.rules import MojibakeRules, PiiRules
from puna.core.errors import DataError
from puna.data.document import Document, Dropped
from puna.data.rules.mojibake import Mojibake
from puna.data.rules.pii import Pii
from puna.data.spec import RuleSpec
from puna.data.stages.turns import OTHER_TASKS, apply_rule, conversation_of, count_example, refuse_rules_of_lines
from puna.data.table import find_rule

TALK = Example(
    messages=(Message("user", "I am a@b.org "), Message("assistant", "Hello, c@d.org")),
    chosen=(Message("assistant", "", (ToolCall("1", "mail", '{"to":  ["e@f.org", 3], "note": "é"}'),)),),
    rejected=(Message("assistant", "no"),),
    task="t",
)


def document(example: Example = TALK, **fields: Any) -> Document:
    return Document("s", "1", example.text, "o", turns=example.json(), **fields)


def test_a_rule_that_changes_characters_changes_turns_and_text_alike():
    found = apply_rule(find_rule("pii"), Pii(PiiRules(kinds=["email"])), document(scores={"language": 0.5}))
    assert isinstance(found, Document)
    example = Example.parse(found.turns, "")
    assert [turn.content for turn in example.messages] == ["I am <email> ", "Hello, <email>"]
    assert example.chosen[0].tool_calls == (ToolCall("1", "mail", '{"to": ["<email>", 3], "note": "é"}'),)
    assert (example.rejected, example.task) == (TALK.rejected, "t")
    assert found.text == example.text == "I am <email> \n\nHello, <email>\n\nno"
    assert found.scores == {"language": 0.5, "pii.email": 3.0}


def test_turns_that_need_no_change_stay_as_they_were_written():
    example = replace(TALK, messages=(Message("user", "hi"), Message("assistant", "ho")), chosen=TALK.rejected)
    assert apply_rule(find_rule("pii"), Pii(PiiRules()), document(example)) == document(example)


def test_a_rule_that_drops_a_turn_drops_the_conversation():
    bad = "Ein schÃ¶nes GefÃ¼hl fÃ¼r GrÃ¶ÃŸe und GrÃ¼ÃŸe aus KÃ¶ln am SÃ¼den"
    example = Example(messages=(Message("user", "hi"), Message("assistant", bad)))
    dropped = apply_rule(find_rule("mojibake"), Mojibake(MojibakeRules(action="drop")), document(example))
    assert isinstance(dropped, Dropped)
    assert (dropped.reason, dropped.text) == ("mojibake.found", example.text)


def test_a_rule_that_only_judges_sees_the_whole_conversation():
    seen: list[str] = []

    def judge(found: Document) -> Document:
        seen.append(found.text)
        return replace(found, language="en")

    spec = replace(find_rule("language"), make=lambda settings: judge)
    assert apply_rule(spec, judge, document()) == document(language="en")
    assert seen == [TALK.text]


def test_a_rule_that_changes_text_without_saying_so_ends_the_build():
    spec = RuleSpec(name="shout", settings=PiiRules, make=lambda settings: None, does="shouts")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="'shout' has changed the text of s/1, whose turns would then say"):
        apply_rule(spec, lambda found: replace(found, text=found.text.upper()), document())


@pytest.mark.parametrize("rule", ["c4", "code", "lines"])
@pytest.mark.parametrize("form", ["conversations", "preferences"])
def test_rules_that_take_out_lines_are_refused_for_conversations(rule: str, form: str):
    source = {"path": "x", "include": ["*"], "heldout_fraction": 0.1, "clean": ["pii", rule]}
    refuse_rules_of_lines(DataConfig.model_validate({"sources": {"web": source}}))
    data = DataConfig.model_validate({"sources": {"talks": source | {"format": form}}})
    with pytest.raises(DataError, match=f"data.sources.talks.clean: '{rule}' takes lines out of texts"):
        refuse_rules_of_lines(data)


def test_conversations_are_the_same_by_who_says_what_and_not_by_their_task():
    assert conversation_of(TALK.json()) == conversation_of(replace(TALK, task="").json())
    swapped = replace(TALK, chosen=TALK.rejected, rejected=TALK.chosen)
    joined = Example(messages=(Message("user", "a\n\nb"),))
    apart = Example(messages=(Message("user", "a"), Message("assistant", "b")))
    assert joined.text == apart.text
    assert conversation_of(joined.json()) != conversation_of(apart.json())
    assert conversation_of(swapped.json()) != conversation_of(TALK.json())


def test_turns_answers_pairs_and_tasks_are_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("puna.data.stages.turns._MOST_TASKS", 2)
    counts: dict[str, Any] = {}
    for example in (TALK, *(Example(messages=TALK.messages, task=name) for name in ("", "u", "v", "t"))):
        count_example(counts, example.json(), 10)
    assert counts["examples"] == {"turns": 12, "answers": 7, "pairs": 1}
    rows = {name: figures["documents"] for name, figures in counts["tasks"].items()}
    assert rows == {"t": 2, "not told": 1, OTHER_TASKS: 2}
