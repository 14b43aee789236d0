"""A sweep over a tiny model has all of its points; how fast it is says nothing."""

from collections.abc import Callable

import pytest

import puna
from puna.core.errors import GenerateError
from puna.core.layout import RunDir
from puna.infer import measure


@pytest.fixture(autouse=True)
def small_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_READ_BYTES", 1 << 22)
    monkeypatch.setattr(measure, "_SIDE", 64)


def test_every_pair_has_its_figures(tiny_run: RunDir) -> None:
    found = puna.bench_infer(tiny_run, batches=(1, 3), contexts=(4, 20), tokens=3)
    assert [(point.batch, point.context) for point in found.points] == [(1, 4), (3, 4), (1, 20), (3, 20)]
    for point in found.points:
        assert min(point.first_token_seconds, point.token_seconds, point.share_of_bandwidth, point.share_of_flops) > 0
        assert point.tokens_per_second == pytest.approx(point.batch / point.token_seconds)
        assert point.prompt_tokens_per_second == pytest.approx(point.batch * point.context / point.first_token_seconds)
    record = found.as_dict()
    assert (record["schema"], record["tokens"], record["model"]) == (1, 3, str(tiny_run))
    assert record["weight_bytes"] == puna.load(tiny_run).runner.weight_bytes


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_weights_are_as_they_are_asked_for_and_nothing_is_compared_first(
    tiny_run: RunDir, capsys: pytest.CaptureFixture[str], weights: str
) -> None:
    plain, found = (puna.bench_infer(tiny_run, weights=kept, batches=(2,), tokens=2) for kept in (None, weights))
    if weights in found.runner:  # no compiler: the operators keep floats
        assert found.size.weight_bytes < plain.size.weight_bytes / 3
    assert "perplexity" not in capsys.readouterr().err


def test_many_more_requests_than_an_engine_takes_by_default_run_at_once(tiny_run: RunDir) -> None:
    (point,) = puna.bench_infer(tiny_run, batches=(70,), contexts=(2,), tokens=2).points
    assert point.batch == 70


def test_pairs_that_do_not_fit_are_said(
    tiny_run: RunDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load: Callable[..., puna.LanguageModel] = puna.load

    def with_few_pages(*path: object, **options: object) -> puna.LanguageModel:
        model = load(*path, **options)
        model.runner.pages = 4
        return model

    monkeypatch.setattr("puna.api.loading.load", with_few_pages)
    found = puna.bench_infer(tiny_run, batches=(1, 5), contexts=(10,), tokens=3)
    assert [point.batch for point in found.points] == [1]
    said = " ".join(capsys.readouterr().err.split())
    assert "5 requests with prompts of 10 tokens are left out: they need 80 positions, and the cache has 64" in said


def test_a_prompt_that_is_too_long_is_refused(tiny_run: RunDir) -> None:
    with pytest.raises(GenerateError, match="context is 100000, but with 32 tokens after it"):
        puna.bench_infer(tiny_run, contexts=(100_000,))
