from typing import Any

import pytest

from puna.core.errors import GenerateError
from puna.infer.requests import Request, Sampling, Score


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", "hot"),
        ("top_k", -1),
        ("top_k", 1.5),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("repetition_penalty", 0.0),
        ("presence_penalty", float("inf")),
        ("frequency_penalty", True),
        ("logit_bias", {-1: 1.0}),
        ("logit_bias", {3: float("nan")}),
        ("logit_bias", {3: 1e39}),
        ("logit_bias", {3: 10**400}),
        ("presence_penalty", -1e39),
        ("repetition_penalty", 1e-39),
        ("repetition_penalty", 1e300),
        ("temperature", 10**400),
        ("seed", -1),
        ("seed", 2**63),
    ],
)
def test_a_sampling_value_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(GenerateError, match=f"^{name}"):
        Sampling(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", ()),
        ("max_tokens", -1),
        ("n", 0),
        ("logprobs", -1),
        ("prompt_logprobs", 0.5),
        ("scored_from", 0),
        ("scored_from", 4),
        ("stop", ("",)),
        ("stop", "abc"),
        ("stop", (3,)),
    ],
)
def test_a_value_of_a_request_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(GenerateError, match=f"^{name}"):
        Request(**{"prompt": (1, 2, 3), "max_tokens": 4, name: value})


def test_every_sample_has_a_seed() -> None:
    Request(prompt=(1,), max_tokens=1, n=2, sampling=Sampling(seed=2**63 - 2))
    with pytest.raises(GenerateError, match=r"^n is 3, but must be such that seed \+ n - 1"):
        Request(prompt=(1,), max_tokens=1, n=3, sampling=Sampling(seed=2**63 - 2))


def test_a_scores_total_is_the_sum_of_its_parts() -> None:
    assert Score(logprobs=(-0.5, -0.25), greedy=False).total == -0.75
