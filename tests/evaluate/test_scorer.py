"""Kinds of judging: what is given, and what follows from it."""

from puna.evaluate.scorer import KINDS, TOXICITY, TRUTH


def test_true_and_informative_is_both_at_once():
    assert TRUTH.values({"truthful": 1.0, "informative": 1.0})["truthful_informative"] == 1.0
    assert TRUTH.values({"truthful": 1.0, "informative": 0.0})["truthful_informative"] == 0.0
    assert TRUTH.values({"truthful": 0.0, "informative": None}) == {
        "truthful": 0.0, "informative": None, "truthful_informative": None,
    }  # fmt: skip


def test_a_value_that_was_not_given_is_unknown_and_not_0():
    assert TOXICITY.values({"insult": 0.3}) == {"toxicity": None}
    assert TOXICITY.unknown == {"toxicity": None}
    assert set(TRUTH.unknown.values()) == {None}


def test_packages_add_scorers_under_the_name_of_their_kind():
    assert {name: kind.group for name, kind in KINDS.items()} == {"toxicity": "puna.toxicity", "truth": "puna.truth"}
