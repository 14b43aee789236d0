"""LLM-foundry's forms, against a small LLM-foundry that has its own encoding, joining, drawing and judging."""

import inspect
import random
import zlib
from typing import Any

import pytest
from foundry_oracle import Foundry, matches
from hypothesis import given
from hypothesis import strategies as st

from puna.evaluate.draws import foundry_draws
from puna.evaluate.example import Answer, Choose, Continue, Example, Likelihood, Write, Written
from puna.evaluate.forms import (
    Maker,
    all_greedy,
    begins_with_an_answer,
    generation,
    language_modeling,
    multiple_choice,
    normalised,
    schema,
)
from puna.evaluate.joining import join
from puna.evaluate.judging import choose_by
from puna.evaluate.task import Verdict
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.train import train_tokenizer

ANSWER = "\nAnswer: "
CHOICES = [
    {
        "query": f" What is {number} plus a number?\n", "choices": [f"{number}", f"a {number + 1} or so", " so", "So?"],
        "gold": number % 4,
    }
    for number in range(24)
]  # fmt: skip
SCHEMAS = [
    {
        "context_options": [f"The cat saw dog {number} because the cat", f"The cat saw dog {number} because the dog"],
        "continuation": f"was number {number}. ", "gold": number % 2,
    }
    for number in range(24)
]  # fmt: skip
CONTINUATIONS = [
    {"context": f"HISTORY: A clue of {number} ", "continuation": f"the answer {number % 3}"} for number in range(24)
]
KINDS: list[tuple[Maker, list[dict[str, Any]], str]] = [
    (multiple_choice(ANSWER), CHOICES, ANSWER),
    (multiple_choice(), CHOICES, " "),
    (schema(), SCHEMAS, " "),
    (schema(" -> "), SCHEMAS, " -> "),
    (language_modeling(), CONTINUATIONS, " "),
    (language_modeling(ANSWER), CONTINUATIONS, ANSWER),
]


@pytest.fixture(scope="module")
def byte_bpe(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Has a token for a space and an "a", by which LLM-foundry knows tokenizers that put no space before a text."""
    found = train_tokenizer(
        [inspect.getsource(random), " a cat and a dog" * 50], vocab_size=500, character_coverage=1.0, config={},
        inputs={}, out=tmp_path_factory.mktemp("tokenizer") / "tokenizer", kind="byte-bpe",
    )  # fmt: skip
    assert len(found.encode(" a")) == 1
    return found


def scored(context: list[int], continuation: list[int]) -> list[tuple[float, bool]]:
    """A model that answers by the ids alone."""
    found = []
    for place in range(len(continuation)):
        drawn = zlib.crc32(repr([*context, *continuation[: place + 1]]).encode()) / 2**32
        found.append((-0.1 - 5 * drawn, drawn < 0.75))
    return found


def ours(make: Maker, rows: list[dict[str, Any]], tokenizer: Tokenizer, shots: int) -> float:
    """The accuracy by Puna's own parts."""
    total = 0.0
    for number, (row, drawn) in enumerate(zip(rows, foundry_draws(rows, rows, shots), strict=True)):
        example = make(row, drawn, str(number))
        pairs = (
            [(option.context, option.continuation) for option in example.ask.options]
            if isinstance(example.ask, Choose)
            else [(example.ask.context, example.ask.target)]  # type: ignore[union-attr]
        )
        likelihoods = []
        for joined in join(tokenizer, pairs, "separately", longest=4096):
            ((context, continuation),) = joined.pairs
            tokens = scored(list(context), list(continuation))
            likelihoods.append(
                Likelihood(
                    logprob=sum(logprob for logprob, _ in tokens), tokens=len(tokens),
                    greedy=all(greedy for _, greedy in tokens),
                )
            )  # fmt: skip
        judge = choose_by(acc="token") if isinstance(example.ask, Choose) else all_greedy
        total += judge(example, Answer(likelihoods=tuple(likelihoods)))[0]["acc"] or 0.0
    return total / len(rows)


@pytest.mark.parametrize("shots", [0, 1, 5])
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_accuracy_is_foundry_s_with_byte_level_bpe(byte_bpe: Tokenizer, kind: int, shots: int) -> None:
    make, rows, delimiter = KINDS[kind]
    theirs = Foundry(rows, byte_bpe, scored, shots=shots, delimiter=delimiter).accuracy()
    assert 0 < theirs < 1
    assert ours(make, rows, byte_bpe, shots) == theirs


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_accuracy_is_foundry_s_with_sentencepiece(tokenizer: Tokenizer, kind: int) -> None:
    make, rows, delimiter = KINDS[kind]
    rows = [{**row, "choices": [text.strip() for text in row["choices"]]} if "choices" in row else row for row in rows]
    theirs = Foundry(rows, tokenizer, scored, shots=0, delimiter=delimiter).accuracy()
    assert 0 < theirs < 1
    assert ours(make, rows, tokenizer, 0) == theirs


@pytest.mark.parametrize("shots", [0, 3])
def test_prompts_of_texts_that_are_written_are_foundry_s(byte_bpe: Tokenizer, shots: int) -> None:
    rows = [
        {"context": f"Question: Who is {number}?\nAnswer:", "answer": f" Nobody {number}", "aliases": ["no one"]}
        for number in range(9)
    ]
    theirs = Foundry(rows, byte_bpe, scored, shots=shots, delimiter=" ").prompts()
    make = generation(32)
    made = [make(row, drawn, "0") for row, drawn in zip(rows, foundry_draws(rows, rows, shots), strict=True)]
    assert [example.ask.prompt for example in made if isinstance(example.ask, Write)] == theirs
    assert made[2].facts == {"answers": ["Nobody 2", "no one"]}


def test_a_context_has_no_space_at_its_end_and_the_answer_has_one_before_it() -> None:
    ask = multiple_choice(ANSWER)(CHOICES[1], (), "0").ask
    assert isinstance(ask, Choose)
    assert {option.context for option in ask.options} == {"What is 1 plus a number?\nAnswer:"}
    assert [option.continuation for option in ask.options] == [" 1", " a 2 or so", " so", " So?"]
    ask = language_modeling()(CONTINUATIONS[1], (CONTINUATIONS[2],), "0").ask
    assert ask == Continue(
        context="HISTORY: A clue of 2 the answer 2\nHISTORY: A clue of 1", target=" the answer 1", text="the answer 1"
    )


def verdict(text: str, *answers: str) -> Verdict:
    example = Example(id="0", ask=Write(prompt="", max_tokens=1), facts={"answers": answers})
    return begins_with_an_answer(example, Answer(written=(Written(text=text, tokens=1, finish="stop"),)))


def test_a_text_is_right_if_it_begins_with_an_answer() -> None:
    assert verdict(" The Onion, and then", "Onions", "onion") == ({"acc": 1.0}, {"answer": "onion and then"})
    assert verdict(" an  onion-ring", "Onion ring")[0] == {"acc": 1.0}
    assert verdict(" Red onion", "Onion")[0] == {"acc": 0.0}


_TEXTS = st.text(alphabet="aAn theTHE_-.'\u2019`x3", max_size=14)


@given(text=_TEXTS, answers=st.lists(_TEXTS, min_size=1, max_size=3))
def test_matching_is_foundry_s(text: str, answers: list[str]) -> None:
    assert verdict(text, *answers)[0]["acc"] == float(matches(text, answers))


def test_normalising_puts_a_space_where_punctuation_was() -> None:
    assert normalised("The_Rock-'n'-Roll  of an A!") == "rock n roll of"
