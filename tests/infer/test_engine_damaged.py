"""One text's scores that are not finite numbers, among the texts of others."""

import math
from dataclasses import replace

import pytest
from engine_twin import plain_completion, same
from fake_runner import FakeRunner
from torch import Tensor

from puna.core.errors import GenerateError
from puna.infer.engine import Engine
from puna.infer.requests import Request, Sampling
from puna.infer.runner import Rows
from puna.infer.speculate import PromptLookup


class Damaged(FakeRunner):
    """Its scores behind a text that ends with token 40 are not finite."""

    def logits(self, rows: Rows) -> Tensor:
        logits_WV = super().logits(rows)
        logits_WV[rows.tokens_M[rows.wanted_W.long()] == 40] = math.nan
        return logits_WV


@pytest.mark.parametrize("drafter", [None, PromptLookup()])
def test_a_text_without_a_next_token_ends_in_an_error_and_the_others_are_written_to_their_ends(
    drafter: PromptLookup | None,
) -> None:
    forced = Sampling(logit_bias={40: 1e6}, temperature=0.0)
    asked = [
        Request(prompt=(1, 2, 3), max_tokens=9),
        Request(prompt=(1, 2, 3), max_tokens=9, sampling=forced),
        Request(prompt=(7, 40, 5, 6, 7), max_tokens=0, prompt_logprobs=0),
        Request(prompt=(4, 5), max_tokens=9, logprobs=1),
    ]
    banned = {40: -1e6}
    asked = [one if one.sampling == forced else replace(one, sampling=Sampling(logit_bias=banned)) for one in asked]
    engine = Engine(Damaged(), max_rows=8, max_requests=4, drafter=drafter)
    found = engine.generate(asked)
    assert [one.finish for one in found] == ["length", "error", "error", "length"]
    assert [token.id for token in found[1].tokens] == [40]
    for place in (0, 3):
        assert same(found[place], plain_completion(FakeRunner().of, asked[place], 0, 64))
    assert engine._pages.available == 64
    assert not engine.busy
    with pytest.raises(GenerateError, match="not finite numbers"):
        engine.score([((7, 40), (5,))])
