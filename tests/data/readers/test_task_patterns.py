"""How rows are written by patterns, against texts computed by hand from the code of the Flan Collection.

google-research/FLAN, flan/v2: `preprocessors.py` (options), `few_shot.py` and seqio's `fewshot_preprocessor`
(exemplars), `mixtures.py` (rates).
"""

from collections import Counter
from typing import Any

import pytest

from puna.config.tasks import Pattern, TaskTemplates
from puna.data.readers.task_patterns import (
    Choice,
    applies,
    choose,
    exemplars,
    without_shots,
    write,
    write_after,
)

ROW = {"question": "is ice cold", "answer": "yes", "options": ["no", "yes"], "chain_of_thought": "Ice is frozen."}
OTHERS = [{"question": f"q{number}", "answer": f"a{number}"} for number in range(40)]


def choice_of(text: str, target: str = "{answer}", *, style: str = "- ", separator: str = "\n\n\n") -> Choice:
    """A pattern, as if it had been drawn."""
    templates = TaskTemplates(few_shot=[Pattern(input=text, target=target, separator=separator)], option_styles=[style])
    row = dict.fromkeys(ROW, "x") | {"options": ["x"]}
    choice = choose(templates, row, "s/f#0")
    assert choice is not None
    return choice


@pytest.mark.parametrize(
    ("style", "listed", "answer"),
    [
        # format_options, and with use_char_options_format; boolq with use_char_answer.
        ("- ", "OPTIONS:\n- no\n- yes", "yes"),
        ("(A) ", "OPTIONS:\n(A) no\n(B) yes", "(B)"),
        # format_options_non_deterministic: the answer is the stripped name of its item, if the names differ.
        ("a). ", "OPTIONS:\na). no\nb). yes", "b)."),
        ("1. ", "OPTIONS:\n1. no\n2. yes", "2."),
        (" + ", "OPTIONS:\n + no\n + yes", "yes"),
    ],
)
def test_options_are_listed_as_flans_and_a_counted_one_is_answered_by_its_mark(
    style: str, listed: str, answer: str
) -> None:
    asked = choice_of("Q: {question}?\n\n{options}", "{answer}", style=style)
    assert write(asked, ROW) == (f"Q: is ice cold?\n\n{listed}", answer)


def test_an_answer_that_is_not_an_option_or_is_not_asked_by_options_stays() -> None:
    assert write(choice_of("{question} {options}", style="(A) "), ROW | {"answer": "maybe"})[1] == "maybe"
    assert write(choice_of("{question}", style="(A) "), ROW) == ("is ice cold", "yes")
    assert write(choice_of("{options}", style="(A) "), {"options": ["3", " 4 "], "answer": 4})[1] == "(B)"


def test_a_chain_of_thought_is_before_or_after_the_answer_as_the_pattern_says() -> None:
    before = choice_of("{question}? Think first.", "{chain_of_thought}\nThe answer is {answer}")
    behind = choice_of("{question}?", "{answer}, because: {chain_of_thought}")
    assert write(before, ROW) == ("is ice cold? Think first.", "Ice is frozen.\nThe answer is yes")
    assert write(behind, ROW)[1] == "yes, because: Ice is frozen."


def test_exemplars_have_their_targets_and_the_separator_and_the_last_input_ends_in_no_space() -> None:
    """few_shot.py with x_y_delimiter and targets_prefix in the input, trailing spaces cut (not line ends), targets
    stripped."""
    asked = choice_of("Question: {question}\nAnswer: ", " {answer} ", separator="\n\n")
    text, target = write_after(asked, {"question": "c", "answer": "3"}, OTHERS[:2])
    assert text == "Question: q0\nAnswer:  a0 \n\nQuestion: q1\nAnswer:  a1 \n\nQuestion: c\nAnswer:"
    assert target == "3"
    assert write_after(choice_of("{question}\n"), {"question": "c", "answer": "3"}, [])[0] == "c\n"


@pytest.mark.parametrize(
    ("row", "text", "found"),
    [
        ({"question": "a"}, "{question}", True),
        ({"question": 3.5}, "{question}", True),
        ({"question": ""}, "{question}", False),
        ({"question": None}, "{question}", False),
        ({"question": True}, "{question}", False),
        ({"question": ["a"]}, "{question}", False),
        ({}, "{question}", False),
        ({"options": []}, "{options}", False),
        ({"options": "a"}, "{options}", False),
        ({"options": ["a", None]}, "{options}", False),
        ({"options": ["a"] * 27}, "{options}", False),
        ({"options": ["a"] * 26}, "{options}", True),
    ],
)
def test_a_pattern_applies_to_rows_with_a_value_for_each_field(row: dict[str, Any], text: str, found: bool) -> None:
    assert applies(Pattern(input=text, target="-"), row) is found
    assert applies(Pattern(input="-", target=text), row) is found


ALL = TaskTemplates(
    zero_shot=[Pattern(input="z{question}"), Pattern(input="Z{question}"), Pattern(input="z{options}")],
    few_shot=[Pattern(input="f{question}"), Pattern(input="f{options}")],
    inverted=[Pattern(input="i{answer}", target="{question}")],
)


def test_shots_and_options_have_equal_parts_and_inversions_three_of_thirteen() -> None:
    """run_example.py: four submixtures of weight 1; mixtures.py: rate 0.3 for the inverted, 1 for the others."""
    drawn = [choose(ALL, ROW, f"s/f#{number}") for number in range(8000)]
    found = Counter(choice.pattern.input for choice in drawn if choice is not None)
    others = 1 / 1.3 / 4
    shares = {"i{answer}": 0.3 / 1.3, "z{question}": others / 2, "Z{question}": others / 2}
    shares |= dict.fromkeys(("z{options}", "f{question}", "f{options}"), others)
    assert found.total() == 8000
    for text, share in shares.items():
        assert found[text] / 8000 == pytest.approx(share, abs=5 * (share * (1 - share) / 8000) ** 0.5)


def test_what_does_not_apply_takes_no_part() -> None:
    plain = [choose(ALL, OTHERS[0], f"s/f#{number}") for number in range(400)]
    assert {choice.pattern.input for choice in plain if choice} == {
        "z{question}", "Z{question}", "f{question}", "i{answer}"
    }  # fmt: skip
    assert choose(ALL, {"title": "a"}, "s/f#0") is None


def test_a_row_is_written_in_the_same_way_each_time_and_others_in_other_ways() -> None:
    keys = [f"s/f#{number}" for number in range(50)]
    once, again = ([choose(ALL, ROW, key) for key in keys] for _ in range(2))
    assert [choice and (choice.pattern, choice.style) for choice in once] == [
        choice and (choice.pattern, choice.style) for choice in again
    ]
    assert len({choice.pattern.input for choice in once if choice}) > 3


def shots_of(patterns: int, number: int, pool: list[dict[str, Any]], text: str = "{question} ") -> list[Any]:
    """The exemplars of a row of a task with so many few-shot patterns."""
    templates = TaskTemplates(few_shot=[Pattern(input=text)] * patterns)
    choice = choose(templates, ROW, f"s/f#{number}")
    assert choice is not None
    return exemplars(choice, templates, ROW, pool)


def test_of_25_candidates_those_with_the_same_pattern_are_exemplars() -> None:
    """few_shot.py: prune_fewshot_examples_by_template_idx of 25 rows, of which each has one of the patterns; 2.5 of ten
    on average. Where none is left, Flan drops the row, and here one stays."""
    counts = [len(shots_of(10, number, OTHERS)) for number in range(3000)]
    none = 0.9**25
    assert min(counts) == 1
    assert sum(counts) / 3000 == pytest.approx(2.5 + none, abs=5 * (25 * 0.09 / 3000) ** 0.5)
    assert {len(shots_of(1, number, OTHERS)) for number in range(20)} == {25}


def test_exemplars_are_different_rows_of_the_pool_in_an_order_of_their_own_and_never_the_row_itself() -> None:
    found = shots_of(1, 3, [*OTHERS, dict(ROW)])
    numbers = [OTHERS.index(row) for row in found]
    assert len(set(numbers)) == len(numbers) == 25
    assert numbers != sorted(numbers)
    assert shots_of(1, 3, [dict(ROW)]) == []
    assert shots_of(1, 3, [{"title": "has no question"}]) == []


def test_exemplars_are_left_out_from_where_the_input_would_be_longer_than_flans() -> None:
    long = [{"question": "q" * 2000, "answer": str(number)} for number in range(30)]
    assert len(shots_of(1, 0, long)) == 3
    assert shots_of(1, 0, [{"question": "q" * 8000, "answer": "a"}]) == []


def test_a_row_that_nothing_can_come_before_is_written_by_itself() -> None:
    templates = TaskTemplates(zero_shot=[Pattern(input="z {question}")], few_shot=[Pattern(input="f {question}")])
    choice = next(
        found for number in range(50) if (found := choose(templates, ROW, f"s/f#{number}")) and found.few_shot
    )
    alone = without_shots(choice, templates, ROW)
    assert (alone.few_shot, write(alone, ROW)) == (False, ("z is ice cold", "yes"))
    only = TaskTemplates(few_shot=[Pattern(input="f {question}")])
    assert write(without_shots(choice, only, ROW), ROW)[0] == "f is ice cold"
