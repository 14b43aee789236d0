"""The table of rules and readers: every record is whole, and agrees with the recipe's sections and with the docs."""

import re
from pathlib import Path

import pytest

from puna.config import plugins
from puna.config.data import FORMATS
from puna.config.rules import RULES as IN_RECIPES
from puna.config.rules import Rules
from puna.config.section import Section
from puna.core.errors import DataError
from puna.data.document import Document
from puna.data.spec import ReaderSpec, RuleSpec
from puna.data.table import READERS, RULES, add_reader, add_rule, find_reader, find_rule

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "data.md"


class Settings(Section):
    """A rule's."""


def spec(name: str = "mine", **fields: object) -> RuleSpec:
    return RuleSpec(**{"name": name, "settings": Settings, "make": lambda settings: None, "does": "nothing"} | fields)


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plugins, "_added", {})


@pytest.mark.parametrize("name", RULES)
def test_the_record_of_a_rule_agrees_with_the_recipes_section(name: str):
    found = find_rule(name)
    assert isinstance(found, RuleSpec)
    assert found.name == name
    assert Rules.model_fields[name.replace("-", "_")].annotation is found.settings
    assert all(reason.startswith(f"{name}.") for reason in found.reasons)


@pytest.mark.parametrize("name", READERS)
def test_the_record_of_a_reader_bears_the_name_of_its_format(name: str):
    found = find_reader(name)
    assert isinstance(found, ReaderSpec)
    assert found.name == name


def test_a_recipe_knows_the_rules_and_formats_of_the_table():
    assert tuple(RULES) == IN_RECIPES
    assert tuple(READERS) == FORMATS


def test_the_guide_says_of_each_rule_and_format_what_its_record_says():
    text = GUIDE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]*`) \| ([^|]*) \| ([^|]*?) ?\|$", text, flags=re.MULTILINE)
    said = {name: (what, after) for names, what, after in rows for name in re.findall("`([^`]*)`", names)}
    for name in RULES:
        if name != "code":  # the rule and the reader are called so
            assert said[name] == (find_rule(name).does, find_rule(name).after)
    for name in READERS:
        if name != "code":
            assert said[name][0] == find_reader(name).reads
    assert (find_rule("code").does, find_rule("code").after) in [row[1:] for row in rows if row[0] == "`code`"]
    assert find_reader("code").reads in [row[1] for row in rows if row[0] == "`code`"]


def test_a_rule_of_a_script_is_found_until_the_process_ends():
    with pytest.raises(DataError, match="names 'mine', which is not installed here"):
        find_rule("mine")
    mine = spec()
    add_rule(mine)
    assert find_rule("mine") is mine


def test_a_reader_of_a_script_is_found():
    mine = ReaderSpec(name="mine", make=lambda name, source, limit: None, reads="nothing")  # type: ignore[arg-type]
    add_reader(mine)
    assert find_reader("mine") is mine


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (spec("c4"), "'c4' is the name of one of Puna's own"),
        (spec(reasons={"loud": "Loud."}), r"its reason 'loud' should begin with 'mine\.'"),
        (spec("My_Rule"), "its name should be of small letters and digits, with '-' between words"),
        (Document("a", "b", "c", "d"), "should be a RuleSpec, not a Document"),
    ],
)
def test_a_record_that_is_not_valid_is_refused(record: RuleSpec, sentence: str):
    with pytest.raises(DataError, match=sentence):
        add_rule(record)
