import pickle
from dataclasses import replace

import pytest

from puna.config.data import FORMATS, DataConfig, Source
from puna.config.rules import RULES
from puna.core.errors import DataError
from puna.data.document import INVALID_UTF8, READER_FAILED, RULE_FAILED, Document, Dropped, Lost, Raw
from puna.data.stages.cleaning import Chain, make_reader, make_rule, read_one, without_lost
from puna.data.table import find_reader, find_rule

GOOD = Document("web", "a", "text", "o")


class _Reader:
    def __init__(self, answer: object) -> None:
        self._answer = answer

    def document(self, raw: Raw) -> object:
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_has_a_reader_that_can_be_sent_to_a_worker(form: str):
    source = Source.model_validate({"path": "x", "include": ["*"], "heldout_fraction": 0.1, "format": form})
    reader = pickle.loads(pickle.dumps(make_reader("web", source, 10**6)))
    verdict = read_one(reader, Raw("x", b"\x00\xff"), "web", {})
    assert isinstance(verdict, Document) or verdict.reason != READER_FAILED


@pytest.mark.parametrize("name", [name for name in RULES if name not in ("lines", "perplexity", "wikipedia-like")])
def test_every_rule_can_be_made_and_judges_a_document(name: str):
    rule = make_rule(name, DataConfig(), None)
    assert isinstance(rule(GOOD), Document | Dropped)


def test_a_reader_that_fails_costs_the_record_and_says_why():
    counts: dict = {}
    verdict = read_one(_Reader(RecursionError("too deep")), Raw("a", b""), "web", counts)  # type: ignore[arg-type]
    assert verdict == Dropped("web", "a", READER_FAILED, "RecursionError: too deep")
    assert counts["steps"]["read"]["dropped"] == {READER_FAILED: {"documents": 1, "bytes": 0}}


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), ImportError("no lxml")])
def test_what_is_not_a_fault_of_the_record_ends_the_task(error: BaseException):
    with pytest.raises(type(error)):
        read_one(_Reader(error), Raw("a", b""), "web", {})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["text", "url", "id", "licence"])
def test_a_document_that_is_not_unicode_is_dropped(field: str):
    broken = Document(**{"source": "web", "id": "a", "text": "t", "origin": "o"} | {field: "x\ud800"})
    verdict = read_one(_Reader(broken), Raw("a", b""), "web", {})  # type: ignore[arg-type]
    assert verdict == Dropped("web", "a", INVALID_UTF8)


def test_a_chain_ends_at_the_first_verdict_and_counts_each_step():
    data = DataConfig.model_validate({"rules": {"gopher_quality": {"min_words": 2}}})
    chain = Chain(["pii", "gopher-quality", "gopher-repetition"], data, None)
    counts: dict = {}
    verdict = chain(GOOD, counts)
    assert isinstance(verdict, Dropped)
    assert verdict.reason == "gopher-quality.few_words"
    assert counts["steps"] == {
        "pii": {"kept": {"documents": 1, "bytes": 4}},
        "gopher-quality": {"dropped": {"gopher-quality.few_words": {"documents": 1, "bytes": 4}}},
    }


def test_a_rule_that_fails_costs_the_document_and_says_which(monkeypatch: pytest.MonkeyPatch):
    chain = Chain(["pii"], DataConfig(), None)

    def fail(document: Document) -> Document:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(chain, "_rules", [(find_rule("pii"), fail)])
    counts: dict = {}
    detail = "pii: ZeroDivisionError: division by zero"
    assert chain(GOOD, counts) == Dropped("web", "a", RULE_FAILED, detail, "text")
    assert counts["steps"]["pii"]["dropped"][RULE_FAILED]["documents"] == 1


def test_what_a_reader_has_left_out_is_counted_by_kind_and_leaves_the_document():
    spec = replace(find_reader("text"), name="song", reasons={"song.hole": "A.", "song.end": "B."})
    counts: dict = {}
    for number, lost in enumerate([(Lost("song.hole"), Lost("song.hole", 2, 5), Lost("song.end", bytes=7)), ()]):
        document = replace(GOOD, id=str(number), lost=lost)
        assert without_lost(spec, document, counts) == replace(document, lost=())
    assert counts["lost"] == {
        "song.hole": {"documents": 1, "parts": 3, "bytes": 5},
        "song.end": {"documents": 1, "parts": 1, "bytes": 7},
    }
    with pytest.raises(DataError, match=r"lost something of the kind 'song\.other', which nothing explains"):
        without_lost(spec, replace(GOOD, lost=(Lost("song.other"),)), counts)
