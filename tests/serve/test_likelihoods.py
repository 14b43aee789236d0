"""Likelihoods over the server's requests are the engine's own scores, however many are asked together."""

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_served import small_model

from puna.serve.caller import ANYONE
from puna.serve.likelihoods import pair_scores, text_scores
from puna.tokenizer.bos import pair_ids
from puna.tokenizer.tokenizer import Tokenizer

TEXT = st.text(st.sampled_from("The people of é "), max_size=20)


@settings(max_examples=25)
@given(pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6))
def test_pairs_have_the_scores_of_the_engine(tokenizer: Tokenizer, pairs: list[tuple[str, str]]) -> None:
    found = asyncio.run(pair_scores(small_model(tokenizer), pairs, ANYONE))
    assert found == small_model(tokenizer).engine.score([pair_ids(tokenizer, *pair) for pair in pairs])


def test_much_text_is_read_on_another_thread(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def noted(*text: Any) -> Any:
        threads.append(threading.get_ident())
        return pair_ids(*text)

    texts = ["The people of the state"] * 100
    alone = asyncio.run(text_scores(small_model(tokenizer), texts[:1], ANYONE))
    monkeypatch.setattr("puna.serve.likelihoods.pair_ids", noted)
    assert asyncio.run(text_scores(small_model(tokenizer), texts, ANYONE)) == alone * 100
    assert asyncio.run(pair_scores(small_model(tokenizer), [("", text) for text in texts], ANYONE)) == alone * 100
    assert len(threads) == 200
    assert threading.get_ident() not in threads


def test_a_text_that_fits_has_the_score_of_a_pair_without_context(tokenizer: Tokenizer) -> None:
    texts = ["The people", "", "of the state"]
    alone = asyncio.run(pair_scores(small_model(tokenizer), [("", text) for text in texts], ANYONE))
    assert asyncio.run(text_scores(small_model(tokenizer), texts, ANYONE)) == alone
