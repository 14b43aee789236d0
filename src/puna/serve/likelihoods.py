"""How likely texts are, by requests that write nothing: the numbers of `LanguageModel.score`."""

from collections.abc import Sequence

from puna.infer.requests import Completion, Request, Score
from puna.infer.windows import windows
from puna.serve.answers import completions
from puna.serve.caller import Caller
from puna.serve.prompts import beside_the_loop
from puna.serve.served_model import ServedModel
from puna.tokenizer.bos import pair_ids

Pair = tuple[tuple[int, ...], tuple[int, ...]]


async def pair_scores(model: ServedModel, pairs: Sequence[tuple[str, str]], caller: Caller) -> list[Score]:
    """The score of each continuation after its context.

    Args:
        model: Who reads them.
        pairs: Contexts and continuations, which are read as one text each.
        caller: Who asks.

    Raises:
        ApiError: A pair is too long, or as `answers.told`.
    """
    characters = sum(len(context) + len(continuation) for context, continuation in pairs)
    read = await beside_the_loop(lambda: [pair_ids(model.tokenizer, *pair) for pair in pairs], characters)
    return await _scores(model, read, caller)


async def text_scores(model: ServedModel, texts: Sequence[str], caller: Caller) -> list[Score]:
    """The score of each text after the beginning-of-sequence token; one that is too long is read in windows.

    Args:
        model: Who reads them.
        texts: Of any length.
        caller: Who asks.

    Raises:
        ApiError: As `answers.told`.
    """
    parts = await beside_the_loop(lambda: [_windows(model, text) for text in texts], sum(map(len, texts)))
    found = iter(await _scores(model, [pair for windowed in parts for pair in windowed], caller))
    scores = []
    for windowed in parts:
        own = [next(found) for _ in windowed]
        logprobs = tuple(logprob for score in own for logprob in score.logprobs)
        scores.append(Score(logprobs=logprobs, greedy=all(score.greedy for score in own)))
    return scores


def _windows(model: ServedModel, text: str) -> list[Pair]:
    _, ids = pair_ids(model.tokenizer, "", text)
    return list(windows((model.tokenizer.bos_id, *ids), model.longest, model.longest))


async def _scores(model: ServedModel, pairs: Sequence[Pair], caller: Caller) -> list[Score]:
    different = list(dict.fromkeys(pair for pair in pairs if pair[1]))
    requests = [
        Request(prompt=context + continuation, max_tokens=0, prompt_logprobs=1, scored_from=len(context))
        for context, continuation in different
    ]
    found = dict(zip(different, map(_score, await completions(model, requests, caller)), strict=True))
    return [found.get(pair, Score(logprobs=(), greedy=True)) for pair in pairs]


def _score(done: Completion) -> Score:
    logprobs = tuple(token.logprob for token in done.prompt if token.logprob is not None)
    return Score(logprobs=logprobs, greedy=all(token.id == token.best[0][0] for token in done.prompt))
