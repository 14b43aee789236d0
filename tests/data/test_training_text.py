"""The text that a tokenizer learns from: shares, pieces, what is refused and what is warned of."""

from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import DataError, TokenizerError
from puna.core.layout import DataDir
from puna.data.documents import documents_of
from puna.data.stages.plan import build_documents
from puna.data.training_text import ENOUGH, TokenizerText, portions, refuse_vocabulary, sample
from puna.shards.split import HELDOUT, TRAIN

MB = 1_000_000


@pytest.fixture
def many(recipe: Recipe, out: DataDir, shelf: Path) -> Recipe:
    """A build of some dozens of short documents per source."""
    for number in range(60):
        (shelf / "poems" / "read" / f"x{number}.txt").write_text(f"poem {number:04} " * 15)
        (shelf / "code" / f"x{number}.py").write_text(f"code {number:04} " * 15)
    build_documents(recipe, out)
    return recipe


def _limited(recipe: Recipe, train_bytes: int) -> Recipe:
    return recipe.model_copy(update={"tokenizer": recipe.tokenizer.model_copy(update={"train_bytes": train_bytes})})


def _documents(recipe: Recipe, out: DataDir, split: str) -> dict[str, list[str]]:
    return {name: [document.text for document in documents_of(out, name, split)] for name in recipe.data.sources}


def test_text_is_taken_by_the_shares_within_the_limit_and_never_from_held_out_documents(many: Recipe, out: DataDir):
    train, heldout = _documents(many, out, TRAIN), _documents(many, out, HELDOUT)
    for limit in (800, 4000, 8000):
        text = TokenizerText(_limited(many, limit), out)
        taken = [*text]
        assert taken == [*text]
        sizes = {
            name: sum(len(piece.encode()) for piece in taken if any(piece in document for document in documents))
            for name, documents in train.items()
        }
        assert {name: portion.taken for name, portion in text.portions.items()} == sizes
        assert sizes["poems"] == pytest.approx(0.75 * limit, abs=300)
        assert sizes["code"] == pytest.approx(0.25 * limit, abs=300)
        assert not [piece for piece in taken for texts in heldout.values() if piece in texts]


def test_a_small_source_gives_all_it_has_and_does_not_starve_the_others(
    many: Recipe, out: DataDir, capsys: pytest.CaptureFixture[str]
):
    starved = many.model_copy(update={"mixture": {"poems": 1.0, "code": 99.0}})
    train = _documents(many, out, TRAIN)
    text = TokenizerText(starved, out)
    assert [*text] == [*train["poems"], *train["code"]]
    text.warn()
    assert "of 'code', of " in capsys.readouterr().err


def test_the_shares_are_those_of_the_whole_run(many: Recipe, out: DataDir):
    stages = [{"from_tokens": many.total_tokens // 2, "mixture": {"code": 1.0}}]
    values = many.model_dump() | {"stages": stages, "tokenizer": {"train_bytes": 4000}}
    found = TokenizerText(Recipe.model_validate(values), out).portions
    assert {name: portion.wanted for name, portion in found.items()} == {"poems": 1500, "code": 2500}


@pytest.mark.parametrize(
    ("shares", "available", "most", "taken"),
    [
        ((0.5, 0.5), (900 * MB, 900 * MB), 100 * MB, (50 * MB, 50 * MB)),
        ((0.05, 0.95), (600_000, 900 * MB), 100 * MB, (600_000, 100 * MB - 600_000)),  # hardly moved: filled up
        ((0.5, 0.5), (4000, 6 * MB), 100 * MB, (4000, 6 * MB)),  # below ENOUGH: filled up
        ((0.5, 0.5), (4000, 900 * MB), 100 * MB, (4000, ENOUGH - 4000)),
        ((0.5, 0.5), (4000, 900 * MB), 3 * MB, (4000, 3 * MB - 4000)),
        ((0.2, 0.2, 0.6), (1 * MB, 90 * MB, 90 * MB), 10 * MB, (1 * MB, 2.25 * MB, 6.75 * MB)),
        ((1.0,), (7,), 100, (7,)),
        ((1e-12, 1 - 1e-12), (5, 10), 100, (5, 10)),
    ],
)
def test_the_shares_hold_as_far_as_the_sources_reach(
    shares: tuple[float, ...], available: tuple[int, ...], most: int, taken: tuple[float, ...]
):
    names = [str(number) for number in range(len(shares))]
    found = portions(dict(zip(names, shares, strict=True)), dict(zip(names, available, strict=True)), most)
    assert [portion.taken for portion in found.values()] == pytest.approx([*taken], abs=2)
    assert sum(portion.taken for portion in found.values()) <= most
    assert [portion.available for portion in found.values()] == [*available]


def test_where_the_shares_would_be_lost_the_text_ends_before():
    found = portions({"prose": 0.85, "code": 0.15}, {"prose": 11 * MB, "code": 10 * MB}, 100 * MB)
    whole = sum(portion.taken for portion in found.values())
    assert found["prose"].taken == 11 * MB
    assert found["code"].taken / whole == pytest.approx(0.2, abs=1e-6)
    assert found["prose"].wanted == pytest.approx(0.85 * whole, abs=2)


@pytest.mark.parametrize("most", [1, 50, 3000, 30_000, 119_000])
def test_a_part_is_drawn_evenly_from_every_text(most: int):
    texts = [f"{name}\n" * 10_000 for name in ("one", "two", "six")]
    taken = [*sample(texts, 120_000, most, 0.3)]
    assert sum(map(len, taken)) == pytest.approx(most, abs=max(1024, most // 256))
    assert all(any(piece in text for text in texts) for piece in taken)
    if most >= 3000:
        for name in ("one", "two", "six"):
            assert sum(len(piece) for piece in taken if name in piece) == pytest.approx(most / 3, abs=1500)


def test_pieces_end_with_lines_and_neighbours_stay_together():
    text = "".join(f"Line {number}, which is long enough.\n" for number in range(4000))
    taken = [*sample([text], len(text), len(text) // 2, 0.0)]
    assert all(piece.endswith("\n") and piece.startswith("Line") for piece in taken)
    (whole,) = sample([text], len(text), len(text), 0.9)
    assert whole == text
    assert "".join(sample([text] * 2, 2 * len(text), 2 * len(text) - 1, 0.0)) in text * 2


def test_texts_without_spaces_and_of_other_scripts_are_cut_between_characters():
    text = "\u6f22\u5b57" * 30_000
    taken = "".join(sample([text], len(text.encode()), 9000, 0.5))
    assert len(taken.encode()) == pytest.approx(9000, abs=3 * 1024)
    assert set(taken) == set(text)


def test_a_vocabulary_that_no_such_text_can_fill_is_refused_before_training(many: Recipe, out: DataDir):
    refuse_vocabulary(32_000, 31_741)
    with pytest.raises(TokenizerError, match=r"model.vocab_size = 330 is too large.* 70 bytes"):
        TokenizerText(_limited(many, 70), out)


def test_missing_documents_are_named(recipe: Recipe, out: DataDir):
    with pytest.raises(DataError, match="no documents are here"):
        TokenizerText(recipe, out)
