"""How well a model predicts texts: equal to a plain loop over the decoder."""

import inspect
import math
from pathlib import Path

import pytest
import torch

import puna
from puna.api.perplexity import _groups
from puna.core.errors import CheckpointError, GenerateError
from puna.core.layout import RunDir

TEXT = inspect.getsource(inspect)[:240]
TEXTS = [TEXT, "law", "", "Ünïcode, 文"]


@pytest.fixture(scope="module")
def model(tiny_run: RunDir) -> puna.LanguageModel:
    return puna.load(tiny_run)


def plain_loop(model: puna.LanguageModel, text: str, size: int, stride: int) -> list[float]:
    """The log-probability of each token, one pass of the decoder for each: what its window has before it."""
    ids = [model.tokenizer.bos_id, *model.tokenizer.encode(text)]
    found = []
    for token in range(1, len(ids)):
        begin = 0
        while token > begin + size:
            begin += stride
        with torch.no_grad():
            logits_V = model.model(torch.tensor([ids[begin:token]]))[0, -1]
        found.append(logits_V.log_softmax(-1)[ids[token]].item())
    return found


@pytest.mark.parametrize(("window", "stride"), [(None, None), (None, 32), (20, 7)])
def test_figures_are_those_of_a_plain_loop(model: puna.LanguageModel, window: int | None, stride: int | None) -> None:
    found = puna.perplexity(model, TEXTS, window=window, stride=stride, tokens=True)
    size = window or model.config.context
    assert (found.window, found.stride) == (size, stride or size // 2)
    expected = [plain_loop(model, text, size, found.stride) for text in TEXTS]
    for text, loss, logprobs in zip(TEXTS, found.texts, expected, strict=True):
        assert loss.ids == tuple(model.tokenizer.encode(text))
        assert loss.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert loss.nats == pytest.approx(-sum(loss.logprobs), abs=1e-9)
        assert (loss.tokens, loss.bytes) == (len(logprobs), len(text.encode()))
    flat = [logprob for logprobs in expected for logprob in logprobs]
    assert found.nats_per_token == pytest.approx(-sum(flat) / len(flat), abs=1e-5)
    assert found.perplexity == pytest.approx(math.exp(-sum(flat) / len(flat)), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(-sum(flat) / math.log(2) / len("".join(TEXTS).encode()), abs=1e-5)
    assert (found.tokens, found.bytes) == (len(flat), len("".join(TEXTS).encode()))


def test_one_pass_over_the_text_is_what_score_gives(model: puna.LanguageModel) -> None:
    found = puna.perplexity(model, TEXT, stride=model.config.context, tokens=True)
    assert found.texts[0].logprobs == model.score(TEXT).logprobs


def test_windows_are_grouped_in_order_and_none_is_lost() -> None:
    pieces = [(place, (1,) * 1000, (2,) * 100) for place in range(10)]
    groups = list(_groups(iter(pieces)))
    assert [piece for group in groups for piece in group] == pieces
    assert [len(group) for group in groups] == [4, 4, 2]  # 4,096 tokens and more, but the last one
    assert list(_groups(iter([]))) == []


def test_more_windows_than_run_at_once_are_all_counted(model: puna.LanguageModel) -> None:
    found = puna.perplexity(model, [TEXT[:40]] * 300, stride=1)
    alone = puna.perplexity(model, TEXT[:40], stride=1)
    assert {loss.nats for loss in found.texts} == {alone.nats}
    assert found.tokens == 300 * alone.tokens
    assert found.texts[0].ids == ()


def test_a_path_is_loaded_with_its_options(tiny_run: RunDir, model: puna.LanguageModel) -> None:
    found = puna.perplexity(tiny_run, TEXT, threads=1)
    assert found.model == str(tiny_run)
    assert found.nats == pytest.approx(puna.perplexity(model, TEXT).nats)
    assert str(found).splitlines()[1] == f"nats per token  {found.nats_per_token:.4f}"


def test_figures_that_are_not_finite_are_null_in_json() -> None:
    empty = puna.TextLoss(tokens=0, bytes=0, nats=0.0)
    assert empty.as_dict()["perplexity"] is empty.as_dict()["bits_per_byte"] is None
    assert puna.TextLoss(tokens=1, bytes=1, nats=1e9).as_dict()["perplexity"] is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"stride": 0}, "stride is 0, but must be from 1 to 32, the window"),
        ({"window": 8, "stride": 9}, "stride is 9, but must be from 1 to 8, the window"),
        ({"window": 33}, "window is 33, but must be from 1 to 32, the model's context"),
    ],
)
def test_windows_that_cannot_be_are_refused(model: puna.LanguageModel, options: dict[str, int], sentence: str) -> None:
    with pytest.raises(GenerateError, match=sentence):
        puna.perplexity(model, TEXT, **options)


@pytest.mark.parametrize("texts", ["", [], ["", ""]])
def test_texts_without_tokens_are_refused(model: puna.LanguageModel, texts: str | list[str]) -> None:
    with pytest.raises(GenerateError, match="there is no text to score"):
        puna.perplexity(model, texts)


def test_a_path_without_a_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises((CheckpointError, puna.UserError), match=r"is not there|is not in a format"):
        puna.perplexity(tmp_path / "nothing", TEXT)
