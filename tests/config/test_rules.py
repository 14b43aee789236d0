import pytest
from pydantic import ValidationError

from puna.config.rules import GopherRepetitionRules, PerplexityRules, PiiRules, Rules


@pytest.mark.parametrize("field", ["top_ngrams", "duplicate_ngrams"])
@pytest.mark.parametrize("n", ["two", "0", "101", "-1", "²"])
def test_an_n_that_is_not_a_number_is_refused(field: str, n: str):
    with pytest.raises(ValidationError, match=f"has the key '{n}', expected lengths of n-grams"):
        GopherRepetitionRules.model_validate({field: {n: 0.5}})


def test_the_defaults_are_those_of_the_papers():
    """Gopher's table A1 and appendix A.1.1, CCNet's mine.py, RedPajama v1's filters, C4's released code."""
    rules = Rules()
    assert rules.gopher_repetition.top_ngrams == {"2": 0.2, "3": 0.18, "4": 0.16}
    assert list(rules.gopher_repetition.duplicate_ngrams.values()) == [0.15, 0.14, 0.13, 0.12, 0.11, 0.1]
    quality = rules.gopher_quality
    assert (quality.min_words, quality.max_words, quality.min_stop_words) == (50, 100_000, 2)
    assert (quality.min_mean_word_length, quality.max_mean_word_length, quality.min_alphabetic_words) == (3, 10, 0.8)
    assert (quality.max_symbol_ratio, quality.max_bullet_lines, quality.max_ellipsis_lines) == (0.1, 0.9, 0.3)
    assert (rules.c4.min_words_per_line, rules.c4.min_sentences) == (5, 3)
    assert (rules.lines.min_chars, rules.language.threshold, rules.wikipedia_like.threshold) == (300, 0.5, 0.25)
    code = rules.code
    assert (code.max_line_length, code.max_mean_line_length, code.min_alphanumeric) == (1000, 100, 0.25)
    assert rules.decontaminate.ngram == 13


@pytest.mark.parametrize(("section", "values"), [(PiiRules, {"kinds": []}), (PerplexityRules, {"keep": []})])
def test_a_rule_that_would_do_nothing_or_drop_everything_is_refused(section: type, values: dict):
    with pytest.raises(ValidationError):
        section.model_validate(values)
