import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from searching import WriteBuild

from puna.core.errors import DataError
from puna.search.build import build_index
from puna.search.index import TextIndex
from puna.search.trace import LONGEST, Traced, trace_text

DOCUMENTS = ["the cat sat on the mat and the dog slept", "a rare zebra sat on the mat", "the mat the mat the mat"]


@pytest.fixture
def index(write_build: WriteBuild) -> TextIndex:
    data = write_build({("prose", "train"): DOCUMENTS, ("prose", "heldout"): ["the dog slept on the mat"]})
    build_index(data)
    return TextIndex.open(data)


def test_spans_are_ranked_by_how_unlikely_they_are(index: TextIndex):
    traced = trace_text(index, "He said: a rare zebra sat on the moon, and the dog slept.")
    assert [span.text for span in traced.spans] == ["a rare zebra sat on the", "and the dog slept"]
    assert traced.spans[0].bits > traced.spans[1].bits > 0
    first = traced.spans[0]
    assert traced.text[first.start : first.end] == first.text
    assert (first.words, first.counts) == (6, {"train": {"prose": 1}})
    assert [source.place.id for source in first.sources] == ["1.txt"]
    assert traced.spans[1].counts == {"train": {"prose": 1}}
    assert trace_text(index, "the dog slept", documents=9).spans[0].counts == {
        "train": {"prose": 1}, "heldout": {"prose": 1},
    }  # fmt: skip


def test_a_word_that_is_rarer_makes_a_span_less_likely(index: TextIndex):
    rare = trace_text(index, "a rare zebra").spans[0]
    common = trace_text(index, "the mat the").spans[0]
    assert rare.bits > common.bits
    assert trace_text(index, "the mat the mat").spans[0].bits > common.bits


def test_spans_of_fewer_words_than_asked_for_are_left_out(index: TextIndex):
    assert trace_text(index, "the cat; the dog").spans == []
    # A dog is as rare as a cat, but takes more tokens.
    assert [span.text for span in trace_text(index, "the cat; the dog", words=2).spans] == ["the dog", "the cat"]
    traced = trace_text(index, "the cat; the dog; rare zebra", words=2, spans=1)
    assert (len(traced.spans), traced.all_spans) == (1, 3)


def test_what_cannot_be_traced_is_refused(index: TextIndex):
    for text, sentence in [
        ("", "no text to trace"), (" \n", "no text to trace"), ("a\udc00", "lone surrogate"),
        ("a " * LONGEST, "are traced at most"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=sentence):
            trace_text(index, text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_traced_the_same_each_time(index: TextIndex, text: str):
    try:
        traced = trace_text(index, text + " the cat sat")
    except DataError:
        return
    assert traced == trace_text(index, text + " the cat sat")
    assert json.loads(json.dumps(traced.json()))["schema"] == 1
    assert any(span.text.endswith("the cat sat") for span in traced.spans)
    for span in traced.spans:
        assert any(span.text in document for document in DOCUMENTS)


def test_a_trace_without_a_run_has_no_steps(index: TextIndex):
    traced: Traced = trace_text(index, "a rare zebra")
    assert [source.steps for span in traced.spans for source in span.sources] == [None]
