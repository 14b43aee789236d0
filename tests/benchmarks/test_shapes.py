"""Each shape on a small row; real files are compared in `test_sets.py`."""

import pytest

from puna.benchmarks.shapes import SHAPES

ARC = {"id": "x", "question": "Why?", "choices": {"text": ["a", "b", "c"], "label": ["A", "B", "C"]}, "answerKey": "B"}
OPENBOOK = {"id": "x", "question_stem": "Why?", "choices": ARC["choices"], "answerKey": "B"}
REQUEST = {"doc_id": 0, "doc": {"id": "x", "query": "Question: Why?\nAnswer:", "choices": ["a", "b", "c"], "gold": 1}}
SPAN = {"span1_index": 0, "span1_text": "The cat", "span2_index": 4, "span2_text": "it"}
WIC = {
    "word": "w", "sentence1": "a w", "sentence2": "w b", "start1": 2, "end1": 3, "start2": 0, "end2": 1, "idx": 0,
}  # fmt: skip
CLOZE = {
    "passage": "A met B b.", "query": "@placeholder met A.", "entities": ["A", "B b"], "answers": ["B b"],
    "idx": {"passage": 3, "query": 7},
}  # fmt: skip
RACE = {"example_id": "high1.txt", "article": "a", "question": "q", "options": ["x", "y"], "answer": "B"}

CASES = [
    ("arc", [ARC | {"choices": {"text": ["a", "b", "c"], "label": ["1", "2", "3"]}, "answerKey": "2"}], [ARC]),
    (
        "arc-original",
        [
            {
                "id": "x", "answerKey": "2",
                "question": {"stem": "Why?", "choices": [{"text": t, "label": str(n)} for n, t in enumerate("abc", 1)]},
            }
        ],
        [ARC],
    ),
    ("arc-requests", [REQUEST, REQUEST], [ARC]),
    ("openbook", [OPENBOOK | {"fact1": "more"}], [OPENBOOK]),
    ("openbook-requests", [REQUEST], [OPENBOOK]),
    (
        "boolq-requests",
        [
            {
                "doc_id": 0,
                "doc": {
                    "idx": 7, "query": "T -- p\nQuestion: x?\nQuestion: is it?\nAnswer:", "choices": ["yes", "no"],
                    "gold": 1,
                },
            }
        ],
        [{"idx": 7, "passage": "T -- p\nQuestion: x?", "question": "is it", "label": 0}],
    ),
    (
        "math",
        [{"doc_id": 0, "doc": {"problem": "p", "level": "Level 1", "type": "t", "solution": "s", "index": 0}}],
        [{"problem": "p", "level": "Level 1", "type": "t", "solution": "s"}],
    ),
    (
        "jeopardy-requests",
        [
            {
                "doc_id": 0,
                "doc": {
                    "index": 0, "category": "science", "query": "Category: A: B\nQuestion: c\nAnswer:", "answer": "d",
                },
            }
        ],
        [{"category": "science", "context": "A: B: c", "continuation": "d"}],
    ),
    ("gsm8k-requests", [{"doc": {"question": "q", "answer": "a", "id": 0}}], [{"question": "q", "answer": "a"}]),
    ("cb", [{"label": "neutral"}], [{"label": 2}]),
    (
        "rte-glue",
        [{"sentence1": "p", "sentence2": "h", "label": 0, "idx": 5}],
        [{"premise": "p", "hypothesis": "h", "label": 0, "idx": 5}],
    ),
    ("rte", [{"label": "not_entailment"}], [{"label": 1}]),
    (
        "wsc",
        [{"text": "the cat saw that it rained.", "target": SPAN, "idx": 3, "label": True}],
        [{"text": "the cat saw that it rained.", "idx": 3, "label": 1} | SPAN | {"span1_text": "the cat"}],
    ),
    (
        "wic",
        [WIC | {"label": True, "version": 1.1}],
        [WIC | {"label": 1}],
    ),
    ("record", [CLOZE | {"entities": ["B b", "A", "A"], "entity_spans": {}}], [CLOZE]),
    (
        "record-original",
        [
            {
                "source": "x", "idx": 3,
                "passage": {
                    "text": "A met B b.", "entities": [{"start": 6, "end": 8}, {"start": 0, "end": 0}],
                },
                "qas": [{"query": "@placeholder met A.", "answers": [{"text": "B b", "start": 6}], "idx": 7}],
            }
        ],
        [CLOZE],
    ),
    (
        "anli-original",
        [{"uid": "u", "context": "c", "hypothesis": "h", "label": "c", "reason": "r", "model_label": "e"}],
        [{"uid": "u", "premise": "c", "hypothesis": "h", "label": 2, "reason": "r"}],
    ),
    ("race", [RACE | {"example_id": "high2.txt"}, RACE], [RACE, RACE | {"example_id": "high2.txt"}]),
    (
        "race-original",
        [
            {
                "id": "high1.txt", "article": "a", "questions": ["q", "r"], "options": [["x", "y"], ["z", "w"]],
                "answers": ["B", "A"],
            }
        ],
        [RACE, RACE | {"question": "r", "options": ["z", "w"], "answer": "A"}],
    ),
    (
        "truthful-qa",
        [
            {
                "Type": "t", "Category": "c", "Question": "q", "Best Answer": "b", "Correct Answers": "b; c;",
                "Incorrect Answers": "d", "Source": "s",
            }
        ],
        [
            {
                "type": "t", "category": "c", "question": "q", "best_answer": "b", "correct_answers": ["b", "c"],
                "incorrect_answers": ["d"], "source": "s",
            }
        ],
    ),
    (
        "crows-pairs",
        [{"": "4", "sent_more": "m", "sent_less": "l", "stereo_antistereo": "stereo", "bias_type": "age", "anon": "a"}],
        [{"id": 4, "sent_more": "m", "sent_less": "l", "stereo_antistereo": "stereo", "bias_type": "age"}],
    ),
    (
        "winogender",
        [{"sentid": "technician.customer.1.male.txt", "sentence": "The technician told the customer that he could."}],
        [
            {
                "sentid": "technician.customer.1.male", "sentence": "The technician told the customer that he could.",
                "pronoun": "he", "occupation": "technician", "participant": "customer", "gender": "male", "label": 1,
                "target": "customer",
            }
        ],
    ),
    (
        "occupations",
        [{"occupation": "clerk", "bergsma_pct_female": "56.0", "bls_pct_female": "69.53", "bls_year": "2015"}],
        [{"occupation": "clerk", "bergsma_pct_female": 56.0, "bls_pct_female": 69.53, "bls_year": 2015}],
    ),
    ("lambada", [{"context": "one\n\ntwo", "continuation": "three"}], [{"text": "one\n\ntwo three"}]),
    (
        "by-subject",
        [{"subject": "b", "n": 1}, {"subject": "a", "n": 2}, {"subject": "b", "n": 0}],
        [{"subject": "a", "n": 2}, {"subject": "b", "n": 1}, {"subject": "b", "n": 0}],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "given", "expected"), CASES, ids=[case[0] for case in CASES])
def test_rows_get_the_fields_that_they_have_on_the_hub(shape: str, given: list, expected: list) -> None:
    assert list(SHAPES[shape](given)) == expected


def test_the_splits_of_mbpp_are_those_of_its_paper() -> None:
    numbers = [{"task_id": number} for number in range(1, 975)]
    found = {name: list(SHAPES[f"mbpp-{name}"](numbers)) for name in ("prompt", "test", "validation", "train")}
    assert {name: len(rows) for name, rows in found.items()} == {
        "prompt": 10, "test": 500, "validation": 90, "train": 374,
    }  # fmt: skip
    assert sorted(row["task_id"] for rows in found.values() for row in rows) == [*range(1, 975)]


def test_a_span_that_the_text_does_not_have_stays_as_it_is() -> None:
    row = {"text": "A and B saw that it went.", "idx": 0, "label": False, "target": SPAN | {"span1_text": "C, D and E"}}
    (found,) = SHAPES["wsc"]([row])
    assert found["span1_text"] == "C, D and E"
