"""A model that answers: the same as its decoder, one or many at once, with everything that is known of a text."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import puna
from puna.core.errors import GenerateError
from puna.core.layout import RunDir
from puna.infer.plain import generate_text
from puna.infer.runner import Rows
from puna.tokenizer.bos import prompt_ids


@pytest.fixture(scope="module")
def model(tiny_run: RunDir) -> puna.LanguageModel:
    return puna.load(tiny_run)


def log_probabilities(model: puna.LanguageModel, ids: list[int]) -> list[float]:
    """Of each token after the first, by the decoder in one pass."""
    with torch.no_grad():
        logs_TV = model.model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
    return logs_TV.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()


def test_text_is_that_of_the_decoder_whole_or_streamed(model: puna.LanguageModel) -> None:
    options: dict[str, Any] = {"max_tokens": 12, "temperature": 0.7, "top_p": 0.9, "seed": 5}
    text = model.generate("The people", **options)
    assert text == generate_text(model.model, model.tokenizer, "The people", **options)
    pieces = list(model.stream("The people", **options))
    assert "".join(pieces) == text
    assert len(pieces) > 1
    assert model.generate("The people", max_tokens=12) == model.generate("The people", max_tokens=12, seed=0)


def test_a_list_of_prompts_gives_the_text_of_each(model: puna.LanguageModel) -> None:
    prompts = ["The people", "", "import json", "The people"]
    texts = model.generate(prompts, max_tokens=9, seed=2)
    assert texts == [model.generate(prompt, max_tokens=9, seed=2) for prompt in prompts]
    assert model.generate([]) == []


def test_completions_have_samples_tokens_and_log_probabilities(model: puna.LanguageModel) -> None:
    ids = prompt_ids(model.tokenizer, "The people")
    found = model.complete(["The people", "law"], n=2, logprobs=2, prompt_logprobs=0, max_tokens=5, seed=3)
    assert [(completion.request, completion.sample) for completion in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert found[1].text == model.generate("The people", max_tokens=5, seed=4)
    first = found[0]
    expected = log_probabilities(model, [*ids, *(token.id for token in first.tokens)])
    given = [token.logprob for token in (*first.prompt, *first.tokens)]
    assert given == pytest.approx(expected, abs=1e-4)
    assert all(len(token.best) == 2 for token in first.tokens)
    assert model.complete(ids, max_tokens=5, seed=3)[0].tokens[0].id == first.tokens[0].id
    assert [c.text for c in model.complete([ids, ids], max_tokens=5, seed=3)] == [first.text] * 2


def test_stop_texts_end_a_text_and_options_reach_the_sampler(model: puna.LanguageModel) -> None:
    text = model.generate("The people", max_tokens=12, temperature=0)
    stop = text[2:4]
    assert model.generate("The people", max_tokens=12, temperature=0, stop=stop) == text[: text.index(stop)]
    assert model.generate("The people", max_tokens=12, temperature=0, stop=["never", stop]) == text[: text.index(stop)]
    assert model.generate("The people", max_tokens=12, top_k=1) == text
    token = model.complete("The people", max_tokens=1, logit_bias={7: 1e9})[0].tokens[0]
    assert token.id == 7


def test_control_tokens_are_tokens_only_where_that_is_asked(model: puna.LanguageModel) -> None:
    bos = model.tokenizer.piece(model.tokenizer.bos_id)
    plain, special = (model.complete(f"{bos}The", max_tokens=1, special=special)[0] for special in (False, True))
    assert special.prompt_tokens == len(prompt_ids(model.tokenizer, "The")) < plain.prompt_tokens


@pytest.mark.parametrize("pair", [("The people", " of the"), ("The people ", "of the"), ("", "The people"), ("a", "")])
def test_a_continuation_is_scored_after_its_context(model: puna.LanguageModel, pair: tuple[str, str]) -> None:
    context, continuation = pair
    first = prompt_ids(model.tokenizer, context.rstrip())
    whole = prompt_ids(model.tokenizer, context + continuation) if "".join(pair) else first
    score = model.score([pair])[0]
    assert score.logprobs == pytest.approx(log_probabilities(model, whole)[len(first) - 1 :], abs=1e-4)


def test_a_greedy_continuation_is_called_greedy(model: puna.LanguageModel) -> None:
    ids = prompt_ids(model.tokenizer, "The people")
    greedy = model.complete(ids, max_tokens=4, temperature=0)[0]
    text = model.tokenizer.decode([*ids, *(token.id for token in greedy.tokens)])
    if prompt_ids(model.tokenizer, text) == [*ids, *(token.id for token in greedy.tokens)]:
        assert model.score([("The people", text.removeprefix("The people"))])[0].greedy
    assert not model.score([("The people", "zzzz")])[0].greedy


def test_a_pair_that_stands_alone_is_refused_instead_of_read_as_two_texts(model: puna.LanguageModel) -> None:
    with pytest.raises(GenerateError, match="may be a pair"):
        model.score(("The people", " of"))


def test_a_text_alone_is_scored_from_its_beginning_in_windows(model: puna.LanguageModel) -> None:
    text = "The people of the United States, " * 8
    ids = prompt_ids(model.tokenizer, text)
    assert len(ids) > 3 * model.config.context
    score = model.score(text)
    assert len(score.logprobs) == len(ids) - 1
    expected, context = [], model.config.context
    for at in range(0, len(ids) - 1, context):
        expected += log_probabilities(model, ids[at : at + 1 + context])
    assert score.logprobs == pytest.approx(expected, abs=1e-4)
    assert model.score([text, ("", "law")])[0] == score
    assert 1 < math.exp(-score.total / len(score.logprobs)) < 512


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_tokens": -1}, "max_tokens is -1, but must be at least 0"),
        ({"temperature": -1.0}, "temperature is -1.0, but must be at least 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 1.5}, "top_p is 1.5, but must be from 0 to 1"),
        ({"seed": -1}, "seed is -1"),
        ({"stop": ""}, "stop is ''"),
        ({"topp": 0.5}, "topp is not an option of generating"),
    ],
)
def test_arguments_out_of_their_range_are_sentences_at_once(
    model: puna.LanguageModel, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(GenerateError, match=sentence):
        model.stream("x", **options)


def test_what_only_completions_can_tell_is_refused_where_texts_are_given(model: puna.LanguageModel) -> None:
    for name in ("n", "logprobs", "prompt_logprobs"):
        for ask in (model.generate, model.stream):
            with pytest.raises(GenerateError, match=f"{name} is not an option where texts alone are given"):
                ask("x", **{name: 2})  # pyrefly: ignore
    with pytest.raises(GenerateError, match="prompt is not one text"):
        model.stream(["x", "y"])  # pyrefly: ignore


def test_a_prompt_is_a_text_or_ids_of_any_whole_numbers(model: puna.LanguageModel) -> None:
    model.complete([5, 6], max_tokens=3)
    expected = model.complete([5, 6], max_tokens=3)  # like the next ones it finds the prompt's first token
    assert model.complete(np.array([5, 6]), max_tokens=3) == expected  # pyrefly: ignore
    assert model.complete([np.array([5, 6])], max_tokens=3) == expected  # pyrefly: ignore
    for prompt, sentence in (
        (b"x", "prompt is bytes"), (None, "prompt is NoneType"), ([5, "x"], "token ids beside texts"),
        ([2.5], "prompt has float"),
    ):  # fmt: skip
        with pytest.raises(GenerateError, match=sentence):
            model.complete(prompt)  # pyrefly: ignore


def test_prompt_that_does_not_fit_is_a_sentence(model: puna.LanguageModel) -> None:
    with pytest.raises(GenerateError, match="the model's context is 32"):
        model.generate("word " * 100)


def test_a_full_context_is_told_once(model: puna.LanguageModel, capsys: pytest.CaptureFixture[str]) -> None:
    text = model.generate("The people", max_tokens=500, temperature=0)
    assert text == "".join(model.stream("The people", max_tokens=500, temperature=0))
    assert capsys.readouterr().err == "stopped: the model's context of 32 tokens is full\n" * 2
    model.generate(["The people", "law"], max_tokens=500, temperature=0)
    assert capsys.readouterr().err == "stopped: the model's context of 32 tokens is full for 2 texts\n"


def test_a_stream_that_is_closed_early_leaves_nothing_behind(model: puna.LanguageModel) -> None:
    stream = model.events("The people", max_tokens=20)
    next(stream)
    stream.close()
    assert [event.completion.finish for event in model.engine.step() if event.completion] == ["cancelled"]
    assert not model.engine.busy


def test_damaged_weights_are_an_error_behind_the_texts_that_could_be_written(
    tiny_run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = puna.load(tiny_run)
    logits = model.runner.logits

    def damaged(rows: Rows) -> torch.Tensor:
        found_WV = logits(rows)
        return found_WV.masked_fill((rows.sequences_M[rows.wanted_W.long()] == 1)[:, None], math.nan)

    monkeypatch.setattr(model.runner, "logits", damaged)
    with pytest.raises(GenerateError, match="not finite numbers"):
        model.generate(["The people", "law"], max_tokens=4)
    finishes = {}

    def listen() -> None:
        for event in model.events(["The people", "law", "import"], max_tokens=4):
            if event.completion is not None:
                finishes[event.request] = event.completion.finish

    with pytest.raises(GenerateError, match="not finite numbers"):
        listen()
    assert finishes == {0: "length", 1: "error", 2: "length"}
