"""Builds of examples for instruction tuning, from files to documents and card."""

import json
from pathlib import Path

import pytest
from talks import examples_recipe, pair, talk

from puna.chat.example import Example
from puna.config.recipe import Recipe
from puna.core.errors import DataError, TokenizerError
from puna.core.layout import DataDir
from puna.core.records import read_record
from puna.data.documents import documents_of, documents_record
from puna.data.stages.build import Execution, build_data, train_tokenizer
from puna.shards.card import read_card

CHATS = [talk(f"What is {n} and {n}?", f"It is {2 * n}.", task=f"sum{n % 2}", license="CC0") for n in range(30)]
PAIRS = [pair(f"Say {n} politely.", f"{n}, please.", f"{n}!") for n in range(20)]
MORE = [talk(f"Count to {n}.", " ".join(map(str, range(n)))) for n in range(3, 23)]


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    return examples_recipe(tmp_path / "in", {"chats": CHATS, "more": MORE})


@pytest.fixture
def of_pairs(tmp_path: Path) -> Recipe:
    return examples_recipe(tmp_path / "in", {"pairs": PAIRS})


@pytest.fixture
def built(made: Recipe, out: DataDir) -> DataDir:
    build_data(made, out, force=False)
    return out


def test_a_build_of_examples_ends_with_documents_and_card(made: Recipe, built: DataDir, capsys):
    assert not built.tokenizer.exists()
    assert not built.shards.exists()
    record = read_record(built.record)
    assert record is not None
    assert record["config"] == made.data.model_dump(mode="json")
    card = read_card(built)
    assert card.tokenizer is None
    assert card.run.tokens is None
    chats, _ = card.sources
    assert chats.examples is not None
    assert (chats.share, chats.epochs) == (0.5, None)
    assert chats.splits["train"].documents + chats.splits["heldout"].documents == 30
    assert (chats.examples.turns, chats.examples.answers, chats.examples.pairs) == (60, 30, 0)
    assert {name: row.documents for name, row in chats.examples.tasks.named.items()} == {"sum0": 15, "sum1": 15}
    assert chats.licences.named["CC0"].documents == 30
    capsys.readouterr()
    build_data(made, built, force=False)
    assert "examples built already" in capsys.readouterr().err


def test_pairs_are_counted_with_the_turns_of_both_answers(of_pairs: Recipe, out: DataDir):
    build_data(of_pairs, out, force=False)
    (source,) = read_card(out).sources
    assert source.examples is not None
    assert (source.examples.turns, source.examples.answers, source.examples.pairs) == (60, 40, 20)


def test_rows_of_which_none_is_an_example_are_refused_before_anything_is_read(tmp_path: Path, out: DataDir):
    rows = [{"question": f"q{n}", "answer": "a"} for n in range(30)]
    with pytest.raises(DataError, match="none of the first 20 rows is an example") as caught:
        build_data(examples_recipe(tmp_path / "in", {"chats": rows}), out, force=False)
    assert "In rows.jsonl#0: it has question, answer" in caught.value.message
    assert "data.sources.chats.columns" in caught.value.hint
    assert not out.documents.exists()
    named = {"columns": {"prompt": "question", "completion": "answer"}}
    build_data(examples_recipe(tmp_path / "in", {"chats": rows}, sources={"chats": named}), out, force=False)
    assert read_card(out).sources[0].dropped == {}


def test_another_recipe_is_refused_and_force_builds_it(made: Recipe, built: DataDir, tmp_path: Path):
    other = examples_recipe(tmp_path / "in", {"chats": CHATS})
    with pytest.raises(DataError, match="was built with other values"):
        build_data(other, built, force=False)
    build_data(other, built, force=True)
    assert [source.name for source in read_card(built).sources] == ["chats"]
    before = built.record.stat().st_ino
    build_data(other, built, force=True)
    assert built.record.stat().st_ino != before


def test_a_card_that_is_missing_is_written_again(made: Recipe, built: DataDir):
    built.card.with_suffix(".html").unlink()
    build_data(made, built, force=False)
    assert built.card.with_suffix(".html").is_file()


def test_no_tokenizer_is_trained_of_examples(made: Recipe, out: DataDir):
    with pytest.raises(TokenizerError, match="tunes a model that is there, with that model's tokenizer"):
        train_tokenizer(made, out, force=False)


def test_everything_that_is_dropped_has_a_reason(tmp_path: Path, out: DataDir):
    bad = ["nope", "[1]", talk("a"), {"messages": [[]]}, {"text": "a"}, talk("", "b"), '{"a": 1, "a": 2}']
    recipe = examples_recipe(tmp_path / "in", {"chats": [*CHATS, *bad, CHATS[0]]})
    build_data(recipe, out, force=False)
    (source,) = read_card(out).sources
    kept = sum(split.documents for split in source.splits.values())
    assert source.dropped == {
        "conversations.broken": 3, "conversations.bad_value": 2, "conversations.no_answer": 1,
        "conversations.no_columns": 1, "duplicate": 1,
    }  # fmt: skip
    assert kept + sum(source.dropped.values()) == 38
    assert source.lost.damaged.documents == 6
    assert all(read_card(out).reasons[reason] for reason in source.dropped)


def test_duplicates_are_whole_conversations(tmp_path: Path, out: DataDir):
    same = [talk("a", "b", task="one"), talk("a", "b", task="two"), talk("a", "c"), talk("a\n\nb", "b"), talk("b", "a")]
    swapped = [pair("q", "x", "y"), pair("q", "y", "x"), pair("q", "x", "y", id=7)]
    for rows in ({"chats": [*same, *CHATS]}, {"pairs": [*swapped, *PAIRS]}):
        build_data(examples_recipe(tmp_path / "in", rows), out, force=True)
        assert [source.dropped for source in read_card(out).sources] == [{"duplicate": 1}]


def test_evaluation_sets_are_looked_for_in_all_turns(tmp_path: Path, out: DataDir):
    question = (
        "Which of the seven rivers of the old northern kingdom runs into the great eastern sea at its southern end?"
    )
    (tmp_path / "set.jsonl").write_text(json.dumps({"question": question}) + "\n")
    found = [
        talk(question, "The Elbe."), talk("Ask me about rivers.", question),
        talk("a", "b", "c", question + " The Elbe."),
    ]  # fmt: skip
    both = [pair("Ask me.", question, "No."), pair("Ask me!", "No.", question)]
    settings = {"sets": {"rivers": str(tmp_path / "set.jsonl")}}
    clean = {"clean": ["decontaminate"]}
    for rows, count in (({"chats": [*found, *CHATS]}, 3), ({"pairs": [*both, *PAIRS]}, 2)):
        recipe = examples_recipe(
            tmp_path / "in", rows, rules={"decontaminate": settings}, sources=dict.fromkeys(rows, clean)
        )
        build_data(recipe, out, force=True, execution=Execution(workers=1))
        assert [source.dropped for source in read_card(out).sources] == [{"decontaminate.overlap": count}]


def test_masks_of_personal_data_are_in_the_turns(tmp_path: Path, out: DataDir):
    rows = [talk(f"I am u{n}@x.org.", f"Welcome, u{n}, {n}@y.org") for n in range(20)]
    build_data(
        examples_recipe(tmp_path / "in", {"chats": rows}, sources={"chats": {"clean": ["pii"]}}), out, force=False
    )
    for document in documents_of(out, "chats", "train"):
        example = Example.parse(document.turns, document.id)
        assert example.text == document.text
        assert "@" not in document.turns
        assert example.messages[0].content == "I am <email>."


def test_a_build_that_was_killed_goes_on(made: Recipe, out: DataDir, monkeypatch: pytest.MonkeyPatch):
    from puna.data.stages import build

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(build, "finish_build", killed)
        with pytest.raises(KeyboardInterrupt):
            build_data(made, out, force=False)
    assert documents_record(out)
    assert read_record(out.record) is None
    build_data(made, out, force=False)
    assert read_record(out.record) is not None
