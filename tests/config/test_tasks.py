"""Templates of tasks in a recipe: their fields, and what is refused."""

import pytest
from pydantic import ValidationError

from puna.config.data import Source
from puna.config.tasks import Pattern, TaskTemplates, fields_of, filled

SOURCE = {"path": "x", "include": ["*.jsonl"], "heldout_fraction": 0.1}
PATTERN = {"input": "{question}", "target": "{answer}"}


def test_fields_stand_in_braces_and_two_braces_are_one() -> None:
    text = "{{{question}}} {{}} {a_1}{question}"
    assert [*fields_of(text)] == ["question", "a_1", "question"]
    assert filled(text, {"question": "{why}", "a_1": "b"}) == "{{why}} {} b{why}"


@pytest.mark.parametrize("text", ["{", "}", "{question", "question}", "{a b}", "{}", "{a.b}", "{{{a}}"])
def test_a_brace_that_is_not_of_a_field_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="stands alone in"):
        list(fields_of(text))
    with pytest.raises(ValidationError, match=r"a field is \{name\}, a brace is \{\{"):
        Pattern(input=text)


def test_a_task_without_patterns_is_refused() -> None:
    with pytest.raises(ValidationError, match="a task needs a pattern in zero_shot, few_shot or inverted"):
        TaskTemplates()


def test_tasks_are_for_the_format_tasks() -> None:
    tasks = {"boolq": {"zero_shot": [PATTERN]}}
    assert Source.model_validate(SOURCE | {"format": "tasks", "tasks": tasks}).tasks["boolq"].option_styles == ["- "]
    with pytest.raises(ValidationError, match="format = 'conversations' takes no 'tasks'"):
        Source.model_validate(SOURCE | {"format": "conversations", "tasks": tasks})


def test_a_pattern_asks_for_the_answer_where_nothing_else_is_said() -> None:
    assert Pattern(input="Q: {question}").model_dump() == {
        "input": "Q: {question}", "target": "{answer}", "separator": "\n\n\n"
    }  # fmt: skip
