from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.data.documents import documents_of
from puna.data.stages.plan import build_documents
from puna.data.training_text import training_text


@pytest.fixture
def many(recipe: Recipe, out: DataDir, shelf: Path) -> Recipe:
    """A build of a thousand short documents per source."""
    for number in range(1000):
        (shelf / "poems" / "read" / f"x{number}.txt").write_text(f"poem {number:04} " * 3)
        (shelf / "code" / f"x{number}.py").write_text(f"code {number:04} " * 3)
    build_documents(recipe, out)
    return recipe


def _sizes(recipe: Recipe, out: DataDir) -> dict[str, int]:
    texts = list(training_text(recipe, out))
    known = {document.text: source for source in recipe.data.sources for document in documents_of(out, source, "train")}
    assert len(set(texts)) == len(texts)
    return {
        source: sum(len(text.encode()) for text in texts if known[text] == source) for source in recipe.data.sources
    }


def _limited(recipe: Recipe, train_bytes: int) -> Recipe:
    return recipe.model_copy(update={"tokenizer": recipe.tokenizer.model_copy(update={"train_bytes": train_bytes})})


def test_text_is_taken_by_the_shares_and_within_the_limit(many: Recipe, out: DataDir):
    for limit in (8_000, 12_000, 16_000, 20_000, 24_000):
        sizes = _sizes(_limited(many, limit), out)
        for source, share in (("poems", 0.75), ("code", 0.25)):
            assert sizes[source] == pytest.approx(share * limit, rel=0.2)


def test_the_limit_holds_however_the_hashes_fall(many: Recipe, out: DataDir, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("puna.data.training_text.hash_fraction", lambda text: 0.0)
    longest = 300
    sizes = _sizes(_limited(many, 8_000), out)
    assert 6_000 <= sizes["poems"] < 6_000 + longest
    assert 2_000 <= sizes["code"] < 2_000 + longest


def test_the_source_that_is_shortest_for_its_share_sets_the_size(many: Recipe, out: DataDir):
    everything = sum(len(document.text.encode()) for document in documents_of(out, "poems", "train"))
    sizes = _sizes(many, out)
    assert sizes["poems"] == everything
    assert sizes["code"] == pytest.approx(everything / 3, rel=0.15)


def test_the_text_is_the_same_each_time(many: Recipe, out: DataDir):
    limited = _limited(many, 5000)
    assert list(training_text(limited, out)) == list(training_text(limited, out))


def test_missing_documents_are_named(recipe: Recipe, out: DataDir):
    with pytest.raises(DataError, match="no documents are here"):
        list(training_text(recipe, out))
