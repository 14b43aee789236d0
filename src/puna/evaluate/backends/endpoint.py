"""A model behind an endpoint that speaks OpenAI's `/completions`: `puna serve`, vLLM, and others.

Prompts are sent as token ids, so both sides must have one tokenizer, and likelihoods are those of an echoed prompt. Not
every server has them: llama.cpp's leaves them out without a word (llama.cpp#27174), and whoever takes their absence for
a number scores at chance. So before anything is evaluated a probe looks at what comes back.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

from puna.core.errors import EvaluateError
from puna.evaluate.backend import Pair
from puna.evaluate.backends.http_json import HttpJson
from puna.evaluate.example import Written
from puna.infer.requests import Request, Score
from puna.tokenizer.bos import prompt_ids
from puna.tokenizer.tokenizer import Tokenizer

_PATH = "/completions"
_STOPS = 4
"""Stop texts that OpenAI's interface takes; the others are looked for here."""
_ROUNDING = 1e-3
"""By which a logarithm in bfloat16 may be above 0."""
_PROBE = "The capital of France is Paris, and 2 + 2 = 4.\n"

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class EndpointBackend:
    """Implements `puna.evaluate.backend.Backend`.

    Args:
        server: Where it is.
        tokenizer: The model's.
        model: Its name there; None is the only one that the server has.
        context: Tokens of its context; None is what the server says.
        together: Questions that are asked at a time; the server puts them together as it likes.

    Raises:
        EvaluateError: The server cannot be reached, has no log-probabilities of prompts, or another tokenizer; or a
            name or the context is missing.
    """

    exact = False

    def __init__(
        self, server: HttpJson, tokenizer: Tokenizer, *, model: str | None = None, context: int | None = None,
        together: int = 8,
    ) -> None:  # fmt: skip
        self._server, self.tokenizer, self._together = server, tokenizer, together
        self.model, said = _described(server, model)
        """The model's name on the server."""
        if (context := context or said) is None:
            raise EvaluateError(
                f"{server.url}: does not say how long the context of {self.model!r} is", hint="give it: --context 2048"
            )
        self.title = f"{self.model} at {server.url}"
        self._wasted = self._probe()
        # A prompt is put in with its last token, and what has to be written comes on top.
        self.longest = context - 1 - self._wasted

    def score(self, pairs: Sequence[Pair]) -> list[Score]:
        """How likely each continuation is; a pair that stands there twice is asked for once.

        Raises:
            EvaluateError: the server fails, or its answer has not the form that was asked for.
        """
        different = list(dict.fromkeys((tuple(first), tuple(then)) for first, then in pairs))
        asked = [pair for pair in different if pair[1]]
        found = dict(zip(asked, self._each(self._scored, asked), strict=True))
        nothing = Score(logprobs=(), greedy=True)
        return [found.get((tuple(first), tuple(then)), nothing) for first, then in pairs]

    def write(self, requests: Sequence[Request]) -> list[list[Written]]:
        """The samples of each request, each a question of its own with its own seed.

        Raises:
            EvaluateError: the server fails, or its answer has not the form that was asked for.
        """
        samples = [(request, sample) for request in requests for sample in range(request.n)]
        written = iter(self._each(self._written, samples))
        return [[next(written) for _ in range(request.n)] for request in requests]

    def _each(self, ask: Callable[[Asked], Answered], asked: Sequence[Asked]) -> list[Answered]:
        threads = ThreadPoolExecutor(self._together)
        try:
            answers = [threads.submit(ask, one) for one in asked]
            for answer in as_completed(answers):
                answer.result()  # the first failure ends it, whatever a slow server still owes
            return [answer.result() for answer in answers]
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _echoed(self, ids: Sequence[int], max_tokens: int) -> dict[str, Any]:
        return {
            "model": self.model, "prompt": [list(ids)], "max_tokens": max_tokens, "echo": True, "logprobs": 1,
            "temperature": 0,
        }  # fmt: skip

    def _scored(self, pair: Pair) -> Score:
        context, continuation = pair
        end = len(context) + len(continuation)
        answer = self._server.post(_PATH, self._echoed((*context, *continuation), self._wasted))
        logprobs, best = self._logprobs(answer, end, self._wasted)
        scored = logprobs[len(context) : end]
        if not all(map(_is_logprob, scored)):
            raise self._strange("a log-probability of the prompt is missing or not finite, or above 0")
        tops = [one.values() if isinstance(one, dict) else () for one in best[len(context) : end]]
        if not all(top and all(map(_is_logprob, top)) for top in tops):
            raise self._strange("top_logprobs are missing, which say whether a token is the likeliest")
        # By their log-probabilities: texts do not tell bytes of characters from each other.
        greedy = all(one >= max(top) for one, top in zip(scored, tops, strict=True))
        return Score(logprobs=tuple(map(float, scored)), greedy=greedy)

    def _written(self, asked: tuple[Request, int]) -> Written:
        request, sample = asked
        sampling = request.sampling
        answer = self._server.post(_PATH, {
            "model": self.model, "prompt": [list(request.prompt)], "max_tokens": request.max_tokens,
            "temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed + sample,
            "stop": list(request.stop[:_STOPS]) or None, "logprobs": 0,
        })  # fmt: skip
        choice = self._choice(answer)
        text, finish = choice.get("text"), choice.get("finish_reason")
        if not isinstance(text, str) or finish not in ("stop", "length"):
            raise self._strange("a text or the reason of its end is missing")
        count = _usage(answer, "completion_tokens")
        if count is None:
            parts = choice.get("logprobs")
            tokens = parts.get("tokens") if isinstance(parts, dict) else None
            count = len(tokens) if isinstance(tokens, list) else len(self.tokenizer.encode(text))
        ends = [place for stop in request.stop if (place := text.find(stop)) >= 0]
        if ends:
            text, finish = text[: min(ends)], "stop"
        return Written(text=text, tokens=count, finish=finish)

    def _probe(self) -> int:
        """Look at what the server answers; returns the tokens that it has to write beside an echo, 0 or 1.

        Raises:
            EvaluateError: It cannot be evaluated.
        """
        ids = prompt_ids(self.tokenizer, _PROBE)
        wasted = 0
        status, answer = self._server.status_of(_PATH, self._echoed(ids, 0))
        if status == 400:  # some do not take 0
            wasted = 1
            status, answer = self._server.status_of(_PATH, self._echoed(ids, 1))
        value = self._server.value_of(_PATH, status, answer)
        logprobs, _ = self._logprobs(value, len(ids), wasted)
        if not all(map(_is_logprob, logprobs[1 : len(ids)])):
            raise self._no_logprobs()
        text = self._choice(value).get("text")
        read = self.tokenizer.decode(ids)
        # A server may show the token that begins a text, and leave out the space that some tokenizers put before it.
        if not isinstance(text, str) or read.strip() not in text:
            raise EvaluateError(
                f"{self._server.url}: reads other text in the token ids that the tokenizer made of {_PROBE!r}: "
                f"{str(text)[:80]!r}",
                hint="name the tokenizer of the model that the server has: --tokenizer PATH",
            )
        return wasted

    def _logprobs(self, answer: Any, length: int, wasted: int) -> tuple[list[Any], list[Any]]:
        """The log-probabilities of a prompt and what was written behind it, and the likeliest at each place."""
        parts = self._choice(answer).get("logprobs")
        logprobs = parts.get("token_logprobs") if isinstance(parts, dict) else None
        best = parts.get("top_logprobs") if isinstance(parts, dict) else None
        # Servers without an echo have log-probabilities of what they wrote.
        if not isinstance(logprobs, list) or len(logprobs) <= (_usage(answer, "completion_tokens") or 0):
            raise self._no_logprobs()
        # A text may end before it has written the token that it had to.
        if not length <= len(logprobs) <= length + wasted or _usage(answer, "prompt_tokens") not in (None, length):
            raise EvaluateError(
                f"{self._server.url}: has more or fewer log-probabilities than the {length} tokens of a prompt",
                hint="it puts a token before prompts or has another tokenizer; name the model's: --tokenizer PATH",
            )
        return logprobs, best if isinstance(best, list) and len(best) == len(logprobs) else [None] * len(logprobs)

    def _choice(self, answer: Any) -> dict[str, Any]:
        choices = answer.get("choices") if isinstance(answer, dict) else None
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
            raise self._strange("there is not one choice")
        return choices[0]

    def _strange(self, what: str) -> EvaluateError:
        return EvaluateError(f"{self._server.url}{_PATH}: its answer is not of the form that was asked for: {what}")

    def _no_logprobs(self) -> EvaluateError:
        return EvaluateError(
            f"{self._server.url}: has no log-probabilities of prompts, so likelihoods cannot be evaluated there",
            hint="the server must honour echo and logprobs together, as vLLM does and llama.cpp does not",
        )


def _is_logprob(value: object) -> bool:
    """Whether it can be the logarithm of a probability; servers that round may be a little above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -sys.float_info.max <= value <= _ROUNDING


def _usage(answer: dict[str, Any], name: str) -> int | None:
    """A number of tokens that an answer says it took."""
    usage = answer.get("usage")
    number = usage.get(name) if isinstance(usage, dict) else None
    return number if isinstance(number, int) else None


def _described(server: HttpJson, model: str | None) -> tuple[str, int | None]:
    """The model's name, and the length of its context where the server says it."""
    answer = server.get("/models")
    listed = answer.get("data") if isinstance(answer, dict) else None
    models = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    names = [str(one.get("id")) for one in models]
    if model is None:
        if len(names) != 1:
            raise EvaluateError(
                f"{server.url}: has {len(names)} models, and one has to be named",
                hint=f"--model {names[0]}" if names else "",
            )
        (model,) = names
    elif names and model not in names:
        raise EvaluateError(f"{server.url}: has no model {model!r}", hint=f"it has {', '.join(names[:5])}")
    known = next((one for one in models if one.get("id") == model), {})
    length = known.get("max_model_len", known.get("context_length"))
    return model, length if isinstance(length, int) and length > 1 else None
