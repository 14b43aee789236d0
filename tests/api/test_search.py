import shutil
from pathlib import Path

import numpy as np
import pytest
from object_store import URL, s3, server

import puna
from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError, DataError
from puna.core.layout import DataDir, RunDir
from puna.data.documents import documents_of
from puna.tokenizer.load import load_tokenizer

__all__ = ["s3", "server"]


@pytest.fixture(scope="module")
def data(tiny_data: DataDir, tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """The tiny build with an index."""
    out = DataDir(tmp_path_factory.mktemp("data") / "tiny")
    shutil.copytree(tiny_data.root, out.root)
    puna.index_data(out.root)
    return out


def test_words_of_a_document_lead_to_it_and_to_the_steps_that_read_it(tiny: Recipe, tiny_run: RunDir, data: DataDir):
    for name in tiny.mixture:
        document = next(iter(documents_of(data, name, "train")))
        text = " ".join(document.text.split()[:30])
        traced = puna.trace(tiny_run, text, data=data.root, documents=50)
        assert traced.spans
        for span in traced.spans:
            assert text[span.start : span.end] == span.text
            for source in span.sources:
                assert source.place.text == span.text
                assert (source.steps == []) == (source.place.split == "heldout") or not source.steps
        origins = {source.place.origin for span in traced.spans for source in span.sources}
        assert document.origin in origins


def test_every_occurrence_is_counted_and_the_first_are_described(data: DataDir, tiny: Recipe):
    texts = [one.text for name in tiny.mixture for one in documents_of(data, name, "train")]
    what = puna.find(data.root, "the", most=3)
    assert what.count("train") == sum(text.startswith("the", at) for text in texts for at in range(len(text)))
    assert len(what.places) == 3
    folded = puna.find(data.root, "THE", fold=True, most=0)
    assert folded.count("train") > what.count("train")


def test_a_build_in_an_object_store_is_searched_as_a_local_one(s3, data: DataDir):
    index = puna.index_data(URL)
    assert index.made == index.parts
    assert puna.find(URL, "the") == puna.find(data.root, "the")
    assert puna.index_data(URL).made == 0


def test_ids_have_no_case_and_a_directory_without_a_recipe_is_refused(data: DataDir, tiny_run: RunDir):
    ids = load_tokenizer(data.tokenizer).encode(" the")
    assert puna.find(data.root, ids) == puna.find(data.root, tuple(ids)) == puna.find(data.root, np.array(ids))
    with pytest.raises(DataError, match="no upper and lower case"):
        puna.find(data.root, [5, 6], fold=True)
    with pytest.raises(CheckpointError, match="is not a run of Puna"):
        puna.trace(data.root / "nothing", "text")


def test_the_data_of_a_tuned_run_are_those_of_its_base(tmp_path: Path, tiny_run: RunDir, data: DataDir):
    run = tmp_path / "tuned"
    run.mkdir()
    (run / "config.toml").write_text('extends = "chat"\nname = "tuned"\n')
    with pytest.raises(DataError, match="was tuned, so its words are from the data of its base too"):
        puna.trace(run, "the words of it")
    traced = puna.trace(run, "def main and the return of the", data=data.root, words=1)
    assert {one.steps is None for span in traced.spans for one in span.sources} <= {True}
