"""A model of Puna as lm-evaluation-harness knows models: its tasks ask, a backend answers.

Contexts and continuations are encoded by the harness's own code. Where that ends in an error (a continuation without
tokens of its own) or drops the token that begins a sequence (a context that is too long), the rules of
`puna.evaluate.joining` hold, so that `--engine lm-eval` and the protocol `harness` score the same tokens.

Needs lm_eval, which only `puna.evaluate.harness_engine` and tests import this module for.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeAlias

from lm_eval.api.model import TemplateLM

from puna.core.console import progress
from puna.evaluate.backend import Backend
from puna.evaluate.example import Likelihood, Write, Written
from puna.evaluate.joining import Joined, fitted, join, read, request_of, score_all

Encoded: TypeAlias = tuple[tuple[str, str], list[int], list[int]]
"""A context and a continuation as texts, and the token ids of both."""

LONGEST_ANSWER = 256
"""Tokens of a generated text at most where a task does not say (lm-evaluation-harness's `max_gen_toks`)."""
_TOGETHER = 512
"""Requests between two steps of the display."""


class HarnessModel(TemplateLM):
    """Answers the harness's requests, and keeps what it has answered in Puna's own terms.

    Args:
        backend: What computes.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.puna = backend
        self.likelihoods: dict[tuple[str, str], Likelihood] = {}
        """Of each context and continuation that was asked."""
        self.wholes: dict[str, Likelihood] = {}
        """Of each whole text."""
        self.written: dict[str, list[Written]] = {}
        """Of each prompt the texts in the order of asking."""
        self.sizes: dict[Any, int] = {}
        """Tokens of each pair of texts, whole text, or prompt with what was written."""

    def size(self, request: tuple[Any, ...]) -> int:
        """Tokens of a request, with what was written for it."""
        match request:
            case (str(text),) | (str(text), dict()):
                return self.sizes[text]
            case _:
                return self.sizes[request]

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.puna.tokenizer.eos_id

    @property
    def prefix_token_id(self) -> int:
        """The token that begins a sequence, which stands for an empty context."""
        return self.puna.tokenizer.bos_id

    @property
    def max_length(self) -> int:
        """Tokens of the model's context."""
        return self.puna.longest

    @property
    def max_gen_toks(self) -> int:
        """Tokens of a generated text at most, where a task does not say."""
        return LONGEST_ANSWER

    @property
    def tokenizer_name(self) -> str:
        """Tells tokenizers apart."""
        return self.puna.tokenizer.sha256

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids of a text, with the token that begins a sequence where the tokenizer adds one."""
        begins = self.puna.tokenizer.add_bos if add_special_tokens is None else add_special_tokens
        ids = self.puna.tokenizer.encode(string)
        return [self.puna.tokenizer.bos_id, *ids] if begins else list(ids)

    def _loglikelihood_tokens(self, requests: list[Encoded], **_: Any) -> list[tuple[float, bool]]:
        found: dict[tuple[str, str], Likelihood] = {}
        # Contexts that begin alike follow each other, so that the beginning is computed once.
        different = sorted({request[0]: request for request in requests}.values(), key=lambda request: request[1])
        for part in _parts(different, "likelihoods"):
            joined = [self._joined(*request) for request in part]
            likelihoods = score_all(self.puna, joined)
            self.sizes |= {texts: _size(one) for (texts, _, _), one in zip(part, joined, strict=True)}
            found |= dict(zip((texts for texts, _, _ in part), likelihoods, strict=True))
        self.likelihoods |= found
        return [(found[texts].logprob, found[texts].greedy) for texts, _, _ in requests]

    def _joined(self, texts: tuple[str, str], context: list[int], continuation: list[int]) -> Joined:
        if not continuation:
            return join(self.puna.tokenizer, [texts], "jointly", longest=self.puna.longest)[0]
        return fitted(self.puna.tokenizer, tuple(context), tuple(continuation), longest=self.puna.longest)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-probability of whole texts."""
        texts = list(dict.fromkeys(request.args[0] for request in requests))
        for part in _parts(texts, "texts"):
            joined = read(self.puna.tokenizer, part, longest=self.puna.longest)
            self.sizes |= {text: _size(one) for text, one in zip(part, joined, strict=True)}
            self.wholes |= dict(zip(part, score_all(self.puna, joined), strict=True))
        return [self.wholes[request.args[0]].logprob for request in requests]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Texts after prompts; a prompt that is asked several times is sampled with seeds that follow each other."""
        seen: Counter[str] = Counter()
        texts: list[str] = []
        for part in _parts(requests, "texts"):
            asks = []
            for request in part:
                prompt, options = request.args
                asks.append(write_of(prompt, options, seed=seen[prompt]))
                seen[prompt] += 1
            of_them = [request_of(self.puna.tokenizer, ask, longest=self.puna.longest) for ask in asks]
            answers = self.puna.write([request for request, _ in of_them])
            for ask, (request, cut), (text,) in zip(asks, of_them, answers, strict=True):
                self.sizes[ask.prompt] = len(request.prompt) + text.tokens
                self.written.setdefault(ask.prompt, []).append(replace(text, cut=cut))
                texts.append(text.text)
        return texts


def write_of(prompt: str, options: dict[str, Any], *, seed: int) -> Write:
    """A request of the harness for a text, in Puna's terms; it is greedy unless a task asks for sampling.

    Args:
        prompt: What precedes the text.
        options: `generation_kwargs` of a task's file: `until`, `max_gen_toks`, `do_sample`, `temperature`, `top_p`.
        seed: Of sampling.
    """
    until = options.get("until") or []
    temperature = float(options.get("temperature") or 0.0) if options.get("do_sample") is not False else 0.0
    return Write(
        prompt=prompt, max_tokens=int(options.get("max_gen_toks", LONGEST_ANSWER)), temperature=temperature,
        stop=tuple(text for text in ([until] if isinstance(until, str) else until) if text),
        top_p=float(options.get("top_p") or 1.0), seed=seed,
    )  # fmt: skip


def _size(joined: Joined) -> int:
    return sum(len(context) + len(continuation) for context, continuation in joined.pairs)


def _parts(requests: Sequence[Any], what: str) -> Iterator[list[Any]]:
    """The requests in parts, with a display of how many are done."""
    left = iter(requests)
    with progress("lm-eval", len(requests), what) as advance:
        while part := list(islice(left, _TOGETHER)):
            yield part
            advance(len(part))
