import json
import random
from pathlib import Path

import fasttext
import pytest

from puna.core.errors import DataError
from puna.core.files import sha256_file
from puna.data.models.classifier import MODEL, measure, probability, train_classifier
from puna.data.models.fasttext_model import FastTextModel

SEA = ["wave", "salt", "fish", "ship", "sail", "storm", "harbour", "tide"]
LAND = ["tree", "grass", "corn", "plough", "horse", "hill", "barn", "meadow"]


def texts(words: list[str], count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [
        "\n".join(" ".join(chance.choices([*words, "the", "a"], k=9)) for _ in range(3)) + f" {seed}-{number}"
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("classifier") / "model"
    train_classifier(texts(SEA, 300, 1), texts(LAND, 300, 2), out)
    return out


def test_new_texts_are_told_apart(trained):
    model = FastTextModel(trained / MODEL)
    assert sorted(model.labels) == ["random", "wikipedia"]
    assert all(probability(model, text) > 0.9 for text in texts(SEA, 50, 3))
    assert all(probability(model, text) < 0.1 for text in texts(LAND, 50, 4))


def test_the_record_says_what_was_trained_and_how_good_it_is(trained):
    record = json.loads((trained / "record.json").read_text())
    results = record["results"]
    assert record["stage"] == "classifier"
    assert record["outputs"] == {MODEL: sha256_file(trained / MODEL)}
    assert {label: results["train"][label] + results["heldout"][label] for label in ("wikipedia", "random")} == {
        "wikipedia": 300,
        "random": 300,
    }
    assert 30 < sum(results["heldout"].values()) < 90
    assert results["thresholds"] == {
        "0.25": {"precision": 1.0, "recall": 1.0},
        "0.5": {"precision": 1.0, "recall": 1.0},
    }


def test_equal_input_gives_equal_bytes_and_another_seed_others(trained, tmp_path):
    clutter = [bytes([0x7F]) * size for size in range(1, 2_000_000, 50_000)]
    del clutter  # memory that is not zero, which fastText would have taken for numbers
    train_classifier(iter(texts(SEA, 300, 1)), iter(texts(LAND, 300, 2)), tmp_path / "again")
    train_classifier(texts(SEA, 300, 1), texts(LAND, 300, 2), tmp_path / "other", seed=1)
    assert sha256_file(tmp_path / "again" / MODEL) == sha256_file(trained / MODEL)
    assert sha256_file(tmp_path / "other" / MODEL) != sha256_file(trained / MODEL)


def test_all_vectors_begin_as_fasttext_means_them_to(tmp_path):
    train_classifier(texts(SEA, 60, 1), texts(LAND, 60, 2), tmp_path / "out", seed=5)
    vectors = fasttext.FastText._FastText(str(tmp_path / "out" / MODEL)).get_input_matrix()
    assert vectors.shape[1] == 100
    assert ((abs(vectors) > 0.001).mean(axis=1) > 0.5).all()  # no word was left out
    assert abs(vectors).max() < 1


def test_precision_and_recall_are_counted_at_each_threshold(tmp_path, trained):
    model = FastTextModel(trained / MODEL)
    assert probability(model, " ".join(SEA)) > 0.5
    (tmp_path / "lines").write_text(
        f"__label__wikipedia {' '.join(SEA)}\n__label__random {' '.join(SEA)}\n__label__wikipedia {' '.join(LAND)}\n"
        f"__label__wikipedia {' '.join(LAND[::-1])}\n__label__random {' '.join(LAND)}\n"
    )
    assert measure(model, tmp_path / "lines")["0.5"] == {"precision": 0.5, "recall": 0.3333}


def test_rare_words_can_be_left_out(tmp_path):
    common = train_classifier(texts(SEA, 60, 1), texts(LAND, 60, 2), tmp_path / "out", min_count=5)
    assert common["words"] == 8 + 8 + 2 + 1  # and the end of a text


def test_words_that_are_labels_to_fasttext_make_none(tmp_path):
    positive = [f"__label__evil </s> {text}" for text in texts(SEA, 60, 1)]
    train_classifier(positive, texts(LAND, 60, 2), tmp_path / "out")
    model = FastTextModel(tmp_path / "out" / MODEL)
    assert sorted(model.labels) == ["random", "wikipedia"]
    assert probability(model, f"</s> {' '.join(SEA)}") == probability(model, " ".join(SEA))


def test_without_texts_of_both_labels_there_is_no_model(tmp_path):
    for positive, negative, label in (([], texts(LAND, 60, 2), "wikipedia"), (texts(SEA, 60, 1), ["\n "], "random")):
        with pytest.raises(DataError, match=f"has no text of label '{label}' to train on"):
            train_classifier(positive, negative, tmp_path / "out")
    with pytest.raises(DataError, match=r"no text of label 'wikipedia' to (measure by|train on)"):
        train_classifier(["one"], texts(LAND, 60, 2), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
