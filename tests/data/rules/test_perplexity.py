import pickle
import shutil
from pathlib import Path

import pytest
import sentencepiece

from puna.config.rules import PerplexityRules
from puna.core.errors import DataError
from puna.data.document import Document, Dropped
from puna.data.rules.perplexity import HEAD, MIDDLE, NO_MODEL, REASONS, TAIL, Perplexity

HEAD_OF_ARPA = ["\\data\\", "ngram 1={}", "ngram 2=1", "", "\\1-grams:"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of letters: a costs little, b more, and what is not a letter most."""
    directory = tmp_path / "lm-en"
    directory.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d a b", "b a", "d c"] * 9),
        model_prefix=str(directory / "sp"),
        model_type="char",
        vocab_size=9,
        hard_vocab_limit=False,
        minloglevel=3,
    )
    unigrams = ["-5\t<unk>", "0\t<s>\t0", "-1\t</s>", "-1\t▁", "-0.5\ta\t-0.1", "-2\tb\t0", "-4\tc", "-4\td"]
    arpa = [*HEAD_OF_ARPA, *unigrams, "", "\\2-grams:", "-0.2\ta b", "", "\\end\\", ""]
    (directory / "lm.arpa").write_text("\n".join(arpa).format(len(unigrams)), encoding="utf-8")
    (directory / "cutoffs.json").write_text('{"head": 8, "middle": 30}')
    return directory


def document(text: str, language: str = "en") -> Document:
    return Document("web", "page", text, "test", language=language, scores={"language": 0.9})


def test_the_perplexity_is_the_one_that_can_be_worked_out_by_hand(model):
    # <s> ▁ a b </s>: -1, -0.5, -0.2 for b after a, -1; and <s> ▁ a </s>, where </s> backs off from a by -0.1.
    rule = Perplexity(PerplexityRules(model=str(model)))
    kept = rule(document("Ab\n\nA"))
    assert isinstance(kept, Document)
    assert kept.scores == {"language": 0.9, "perplexity": pytest.approx(10 ** ((2.7 + 2.6) / (4 + 3)), abs=0.01)}
    assert kept.text == "Ab\n\nA"


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("aaaaa", HEAD, f"perplexity {10 ** (5.0 / 7):.1f}"),
        ("ba ba", MIDDLE, f"perplexity {10 ** ((1 + 2 + 0.5 + 1.1 + 2 + 0.5 + 1.1) / 7):.1f}"),
        ("cd dc", TAIL, f"perplexity {10 ** (19 / 7):.1f}"),
        ("!?!?", TAIL, f"perplexity {10 ** (7 / 3):.1f}"),
        ("\x01", TAIL, "perplexity inf"),
    ],
)
def test_each_third_is_dropped_where_the_recipe_does_not_keep_it(model, text, reason, detail):
    kept = {HEAD: ["middle", "tail"], MIDDLE: ["head", "tail"], TAIL: ["head", "middle"]}[reason]
    dropped = Perplexity(PerplexityRules(model=str(model), keep=kept))(document(text))
    assert isinstance(dropped, Dropped)
    assert (dropped.reason, dropped.text) == (reason, text)
    assert dropped.detail.startswith(detail)
    assert dropped.detail.endswith(", head < 8.0, middle < 30.0")
    assert isinstance(
        Perplexity(PerplexityRules(model=str(model), keep=[reason.removeprefix("perplexity.")]))(document(text)),
        Document,
    )


def test_a_page_is_scored_as_one_line_where_the_recipe_says_so(model):
    # <s> ▁ a b a </s>: what stands on two lines is one word.
    kept = Perplexity(PerplexityRules(model=str(model), score="page"))(document("Ab\n\nA"))
    assert isinstance(kept, Document)
    assert kept.scores["perplexity"] == pytest.approx(10 ** ((1 + 0.5 + 0.2 + 0.5 + 1.1) / 5), abs=0.05)


@pytest.mark.parametrize(("made", "asked"), [("lines", "page"), ("page", "lines")])
def test_cutoffs_of_another_kind_of_perplexity_are_refused(model, made, asked):
    (model / "cutoffs.json").write_text(f'{{"head": 8, "middle": 30, "score": "{made}"}}')
    Perplexity(PerplexityRules(model=str(model), score=made))
    with pytest.raises(DataError, match=f"cut-offs are of perplexities by '{made}'") as error:
        Perplexity(PerplexityRules(model=str(model), score=asked))
    assert f'data.rules.perplexity.score = "{made}"' in error.value.hint


def test_an_infinite_perplexity_is_not_a_score(model):
    kept = Perplexity(PerplexityRules(model=str(model), keep=["tail"]))(document("\x01"))
    assert isinstance(kept, Document)
    assert kept.scores == {"language": 0.9}


def test_each_language_has_its_model_and_one_without_is_dropped(model):
    german = model.parent / "lm-de"
    shutil.copytree(model, german)
    (german / "cutoffs.json").write_text('{"head": 1, "middle": 2}')
    rule = Perplexity(PerplexityRules(model=str(model.parent / "lm-{language}")))
    assert isinstance(rule(document("aa", "en")), Document)
    assert rule(document("aa", "de")).reason == TAIL
    for language in ("fr", ""):
        dropped = rule(document("aa", language))
        assert (dropped.reason, dropped.detail) == (NO_MODEL, f"language '{language}', models for de en")
    assert [path.parent.name for path in rule.files] == ["lm-de"] * 3 + ["lm-en"] * 3


def test_one_model_judges_all_languages_where_the_name_has_no_place_for_one(model):
    assert isinstance(Perplexity(PerplexityRules(model=str(model)))(document("aa", "xx")), Document)


def test_a_missing_or_incomplete_model_is_an_error_before_the_first_document(model):
    for pattern, complaint in (
        (str(model / "none"), "rules.perplexity.model: there is no directory .*none"),
        (str(model.parent / "none-{language}"), "there is no directory like .*none-{language}"),
        (str(model.parent / "{language}" / "lm"), "must stand once, in the last part of the path"),
        (str(model.parent / "{language}-{language}"), "must stand once"),
        (str(model.parent), "is not a language model, it has no sp.model"),
    ):
        with pytest.raises(DataError, match=complaint):
            Perplexity(PerplexityRules(model=pattern))


def test_the_rule_travels_before_and_after_its_first_use(model):
    rule = Perplexity(PerplexityRules(model=str(model)))
    before = pickle.loads(pickle.dumps(rule))
    rule(document("ab"))
    after = pickle.loads(pickle.dumps(rule))
    assert before(document("ab a")) == after(document("ab a")) == rule(document("ab a"))


def test_every_third_has_its_reason():
    assert {f"perplexity.{name}" for name in ("head", "middle", "tail", "no_model")} == set(REASONS)
