import struct
from pathlib import Path

import fasttext
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.data.models.fasttext_model import FastTextModel, one_line
from puna.data.rules.language import installed_model


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A classifier of eight words."""
    folder = tmp_path_factory.mktemp("fasttext")
    (folder / "text").write_text("__label__sea wave salt fish\n__label__land tree grass corn\n" * 20)
    vectors = [f"{word} {0.1 * at} 0.2 0.3 {-0.1 * at}\n" for at, word in enumerate(WORDS)]
    (folder / "vectors").write_text(f"{len(WORDS)} 4\n{''.join(vectors)}")
    settings = {"input": str(folder / "text"), "pretrainedVectors": str(folder / "vectors"), "verbose": 0}
    model = fasttext.train_supervised(**settings, thread=1, dim=4, epoch=50, lr=0.5)
    model.save_model(str(folder / "small.bin"))
    return folder / "small.bin"


WORDS = ["</s>", "wave", "salt", "fish", "tree", "grass", "corn"]


def test_labels_stand_without_their_prefix_and_are_those_of_fasttext(small):
    assert FastTextModel(small).labels == ["sea", "land"]
    theirs = fasttext.FastText._FastText(str(installed_model())).get_labels()
    assert [f"__label__{label}" for label in FastTextModel(installed_model()).labels] == theirs


def test_predictions_are_those_of_fasttexts_own_interface(small):
    ours, theirs = FastTextModel(small), fasttext.FastText._FastText(str(small))
    for text in ("wave", "wave tree", "corn\nfish fish", "nothing of this"):
        labels, probabilities = theirs.predict(text.replace("\n", " "), k=2)
        found = ours.predict(text, 2)
        assert [f"__label__{label}" for label, _ in found] == list(labels)
        assert [value for _, value in found] == pytest.approx(list(probabilities))


def test_probabilities_do_not_exceed_one(small):
    found = FastTextModel(small).predict("wave salt fish " * 1000, 2)
    assert all(0 <= value <= 1 for _, value in found)


def test_reserved_words_are_taken_out_and_only_those():
    assert one_line("a </s> b\n__label__x c") == "a  b  c"
    assert one_line("</s> __label__") == " "
    assert one_line("a</s> x__label__y </s>b") == "a</s> x__label__y </s>b"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_no_text_is_an_error_or_more_than_one_line(text):
    assert "\n" not in one_line(text)
    assert len(_LID.predict(text)) <= 1


_LID = FastTextModel(installed_model())


def test_a_model_that_ends_early_is_refused_wherever_it_ends(small, tmp_path):
    content = small.read_bytes()
    broken = tmp_path / "broken.bin"
    for size in (*range(1, 130), *range(130, len(content), 7), len(content) - 1):
        broken.write_bytes(content[:size])
        with pytest.raises(DataError, match=r"broken\.bin: is not a fastText model that can be used: "):
            FastTextModel(broken)


def test_a_quantized_model_that_ends_early_is_refused(tmp_path):
    content = installed_model().read_bytes()
    broken = tmp_path / "broken.ftz"
    for size in (100, 5000, len(content) // 2, len(content) - 5000, len(content) - 1):
        broken.write_bytes(content[:size])
        with pytest.raises(DataError, match="is incomplete"):
            FastTextModel(broken)


@pytest.mark.parametrize(
    ("at", "value", "complaint"),
    [
        (0, 7, "does not begin as one does"),
        (4, 99, "its format is version 99, expected 11 or 12"),
        (8 + 7 * 4, 2, "it is a model of words, not a classifier"),
        (8 + 56, -5, "its dictionary is damaged"),
        (8 + 56 + 8, 1, "its dictionary is damaged"),
    ],
)
def test_a_damaged_head_is_named(small, tmp_path, at, value, complaint):
    content = bytearray(small.read_bytes())
    content[at : at + 4] = struct.pack("<i", value)
    (tmp_path / "broken.bin").write_bytes(content)
    with pytest.raises(DataError, match=complaint):
        FastTextModel(tmp_path / "broken.bin")


def test_what_follows_a_model_is_refused_and_so_is_an_empty_file(small, tmp_path):
    (tmp_path / "long.bin").write_bytes(small.read_bytes() + b"\0")
    with pytest.raises(DataError, match="something follows its end"):
        FastTextModel(tmp_path / "long.bin")
    (tmp_path / "empty.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.bin: is not a fastText model"):
        FastTextModel(tmp_path / "empty.bin")


def test_a_directory_is_not_a_model(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        FastTextModel(tmp_path)


def test_loading_says_nothing(small, capfd):
    FastTextModel(small).predict("wave")
    assert capfd.readouterr() == ("", "")
