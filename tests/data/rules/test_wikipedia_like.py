import pickle
import shutil
from pathlib import Path

import fasttext
import pytest

from puna.config.rules import ClassifierRules
from puna.core.errors import DataError
from puna.data.document import Document, Dropped
from puna.data.models.classifier import train_classifier
from puna.data.rules.language import installed_model
from puna.data.rules.wikipedia_like import UNLIKE, WikipediaLike

GOOD = [f"the river flows into the sea near city {n}" for n in range(90)]
BAD = [f"buy cheap now click here offer {n}" for n in range(90)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("classifier") / "model"
    train_classifier(GOOD, BAD, out)
    return out


def document(text: str) -> Document:
    return Document("web", "page", text, "test", scores={"language": 0.9})


def test_pages_like_references_go_on_with_their_probability(trained):
    kept = WikipediaLike(ClassifierRules(model=str(trained)))(document(GOOD[3]))
    assert isinstance(kept, Document)
    assert kept.text == GOOD[3]
    assert kept.scores["language"] == 0.9
    label, probability = fasttext.FastText._FastText(str(trained / "model.bin")).predict(GOOD[3])
    assert label == ("__label__wikipedia",)
    assert kept.scores["wikipedia_like"] == pytest.approx(probability[0], abs=1e-4)


def test_other_pages_are_dropped_with_probability_and_threshold(trained):
    dropped = WikipediaLike(ClassifierRules(model=str(trained)))(document(BAD[3]))
    assert isinstance(dropped, Dropped)
    assert (dropped.reason, dropped.text) == (UNLIKE, BAD[3])
    assert dropped.detail.startswith("probability 0.")
    assert dropped.detail.endswith(", at least 0.25")


def test_a_probability_of_just_the_threshold_is_enough(trained):
    found = WikipediaLike(ClassifierRules(model=str(trained), threshold=0.0))(document("here the city"))
    assert isinstance(found, Document)
    assert isinstance(WikipediaLike(ClassifierRules(model=str(trained), threshold=1.0))(document("here the")), Dropped)


def test_the_models_file_itself_can_be_named(trained, tmp_path):
    shutil.copy(trained / "model.bin", tmp_path / "renamed.bin")
    rule = WikipediaLike(ClassifierRules(model=str(tmp_path / "renamed.bin")))
    assert rule.files == [tmp_path / "renamed.bin"]
    assert rule(document(GOOD[0])) == WikipediaLike(ClassifierRules(model=str(trained)))(document(GOOD[0]))


def test_a_model_without_the_label_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"lid\.176\.ftz: has no label 'wikipedia'"):
        WikipediaLike(ClassifierRules(model=str(installed_model())))
    with pytest.raises(DataError, match="cannot be read"):
        WikipediaLike(ClassifierRules(model=str(tmp_path / "none.bin")))


def test_the_rule_travels_before_and_after_its_first_use(trained):
    rule = WikipediaLike(ClassifierRules(model=str(trained)))
    before = pickle.loads(pickle.dumps(rule))
    rule(document(GOOD[0]))
    after = pickle.loads(pickle.dumps(rule))
    assert before(document(GOOD[1])) == after(document(GOOD[1])) == rule(document(GOOD[1]))
