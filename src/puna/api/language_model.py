"""A model that answers: it continues texts, one or many at once, and says how likely texts are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from numbers import Integral
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, overload

from puna.core.console import say
from puna.core.errors import CheckpointError, GenerateError

if TYPE_CHECKING:
    from typing import Unpack

    from puna.api.adapters import OpenedAdapter
    from puna.chat.messages import Messages
    from puna.chat.template import ChatTemplate
    from puna.config.recipe import ModelConfig
    from puna.formats.checkpoint import Checkpoint
    from puna.infer.engine import Engine
    from puna.infer.guides import Guide
    from puna.infer.requests import Completion, Event, Request, Score
    from puna.infer.runner import Runner
    from puna.infer.speculate import Drafter
    from puna.model.llama import Llama
    from puna.ops.quantized import WeightKind
    from puna.tokenizer.tokenizer import Tokenizer

MAX_TOKENS = 128
"""Tokens that are written at most: a paragraph or two, twice `samples.max_tokens`."""
ANSWER_TOKENS = 1024
"""The same in a chat: two pages of prose. Answers of tuned models end by themselves, and half of one is of no use."""
TEMPERATURE, TOP_P = 0.8, 0.95
"""Those of Meta's released example (llama, example.py, 2023), as in `[samples]`."""
SEED = 0
"""So that the same command writes the same text."""

_OF_REQUESTS = ("max_tokens", "stop", "guide", "special", "adapter")
"""Options that are not of `Sampling`."""

Prompt = str | Sequence[int]
"""A text, or its token ids with the token that begins it."""


class GenerateOptions(TypedDict, total=False):
    """What may be asked of a text besides its prompt; what is left out has the value that is named here."""

    max_tokens: int
    """Tokens to write at most (128); the end of the text or of the model's context may come before."""
    temperature: float
    """Divides the logits (0.8); 0 takes the most likely token each time."""
    top_k: int
    """Only this many of the likeliest tokens are drawn (0, which is all)."""
    top_p: float
    """Only the likeliest tokens whose probabilities sum to this are drawn (0.95; Holtzman et al. 2020)."""
    min_p: float
    """Only tokens at least this share as likely as the likeliest are drawn (0; Nguyen et al. 2024)."""
    repetition_penalty: float
    """Makes tokens that the prompt or the text has less likely where it is above 1 (1; Keskar et al. 2019)."""
    presence_penalty: float
    """Subtracted once from the logits of tokens that the text has (0)."""
    frequency_penalty: float
    """Subtracted for each time that the text has a token (0)."""
    logit_bias: "dict[int, float]"
    """Added to the logits of these token ids (none)."""
    seed: int
    """The same seed writes the same text (0)."""
    stop: str | Sequence[str]
    """Texts that end the text where they would begin (none)."""
    guide: "Guide | None"
    """What the text is to be: `puna.Guide.json_schema(…)`, `json_object()`, `regex(…)` or `choice(…)` (any text)."""
    adapter: str
    """The name of an adapter that the model was loaded with; empty is the model itself (`LanguageModel.adapter`)."""
    special: bool
    """Whether the text of control tokens (`<|im_start|>`) in a prompt is those tokens, as in what a chat template
    writes (False: it is text like any other)."""


class LanguageModel:
    """A model that continues texts; `puna.load` makes it. It belongs to one thread.

    Args:
        checkpoint: The weights and what lies with them.
        tokenizer: Text to token ids; None where there is none.
        runner: Computes the model.
        model: The same in PyTorch's modules, where that is what computes.
        weights: What matrices were made; None is as they are stored.
        adapters: Those of the runner, by their names.
    """

    def __init__(
        self, checkpoint: "Checkpoint", tokenizer: "Tokenizer | None", runner: "Runner", *, model: "Llama | None",
        weights: "WeightKind | None", adapters: "Mapping[str, OpenedAdapter] | None" = None,
    ) -> None:  # fmt: skip
        self._checkpoint, self._tokenizer, self._weights = checkpoint, tokenizer, weights
        self._templates: dict[str, ChatTemplate] = {}
        self.runner = runner
        """Computes the model; `title` says how."""
        self.drafter: Drafter | None = None
        """Guesses at tokens for the engine, set before it is first asked; it changes no text."""
        self.adapters: Mapping[str, OpenedAdapter] = adapters or {}
        """What requests may choose, by name."""
        self.adapter = ""
        """The name of the adapter of all requests that choose none; empty is the model itself."""
        if model is not None:
            self.model = model

    def __repr__(self) -> str:
        from puna.core.units import format_count
        from puna.plan.count import parameters

        return f"<LanguageModel {self.path}: {format_count(parameters(self.config).total)} parameters>"

    @property
    def path(self) -> Path:
        """The directory or file that it was read from."""
        return self._checkpoint.path

    @property
    def checkpoint(self) -> "Checkpoint":
        """The weights as they are stored, to read one by one."""
        return self._checkpoint

    @property
    def files(self) -> list[Path]:
        """The files that it was read from."""
        return self._checkpoint.files

    @property
    def config(self) -> "ModelConfig":
        """The decoder's shape, as `[model]` of a recipe has it."""
        return self._checkpoint.config

    @property
    def tokenizer(self) -> "Tokenizer":
        """Text to token ids and back.

        Raises:
            CheckpointError: The model has none.
        """
        if self._tokenizer is None:
            raise CheckpointError(
                f"{self.path}: has no tokenizer, so the model takes no text",
                hint="name its tokenizer's file or directory: tokenizer=PATH, on the command line --tokenizer PATH",
            )
        return self._tokenizer

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that writes a conversation as text, where one lies with the adapter or the model."""
        return self.template_of(self.adapter)

    def template_of(self, adapter: str) -> str | None:
        """The template of conversations with an adapter, or with the model itself where the name is empty."""
        own = self.adapters[adapter].template if adapter in self.adapters else None
        return self._checkpoint.chat_template if own is None else own

    @cached_property
    def model(self) -> "Llama":
        """The decoder, a `torch.nn.Module` with the weights that answers come from, without adapters.

        It is made when it is asked for.
        """
        import torch

        from puna.infer.load import decoder

        return decoder(self._checkpoint, device=torch.device("cpu"), weights=self._weights)

    def _conversations(self, adapter: str) -> "ChatTemplate":
        from puna.chat.template import ChatTemplate

        if (template := self.template_of(adapter)) is None:
            raise GenerateError(
                f"{self.path}: has no chat template, so the model was not tuned to conversations",
                hint="let `generate` continue a text, or put the template beside the model as chat_template.jinja",
            )
        if adapter not in self._templates:
            self._templates[adapter] = ChatTemplate(template, self.tokenizer)
        return self._templates[adapter]

    @cached_property
    def engine(self) -> "Engine":
        """Serves many requests at once; the methods here ask it (`puna.infer.engine`)."""
        from puna.infer.engine import Engine

        return Engine(self.runner, self._tokenizer, drafter=self.drafter)

    @overload
    def generate(self, prompt: str, **options: "Unpack[GenerateOptions]") -> str: ...
    @overload
    def generate(self, prompt: Sequence[str], **options: "Unpack[GenerateOptions]") -> list[str]: ...
    def generate(self, prompt: str | Sequence[str], **options: "Unpack[GenerateOptions]") -> str | list[str]:
        """The text with which the model continues a prompt, or each of several; the prompt itself is not in it.

        Several prompts are computed together, which takes less time than one after the other.

        Args:
            prompt: The text to continue, or a list of them.
            options: `max_tokens`, `temperature`, `top_p`, `seed`, `stop` and the others of `GenerateOptions`.

        Raises:
            GenerateError: A prompt is too long for the model's context, an argument is out of its range, or the model's
                scores are not finite numbers, so that a text has no next token.
            CheckpointError: The model has no tokenizer.
        """
        _refuse_figures(options)
        texts = [completion.text for completion in self.complete(prompt, **options)]
        return texts[0] if isinstance(prompt, str) else texts

    def stream(self, prompt: str, **options: "Unpack[GenerateOptions]") -> Iterator[str]:
        """The text in pieces, each as soon as its characters are whole; arguments and errors as `generate`'s."""
        _refuse_figures(options)
        if len(_listed(prompt)) != 1:
            raise GenerateError("prompt is not one text, whose pieces could be told", hint="`events` takes several")
        return (event.text for event in self.events(prompt, **options) if event.text)

    def chat(self, messages: "Messages", **options: "Unpack[GenerateOptions]") -> str:
        """The model's answer to a conversation, which its chat template writes; typed text is never a control token.

        Args:
            messages: The turns, the oldest first: `[{"role": "user", "content": "Hello"}]`. Roles are `system`, `user`,
                `assistant` and `tool`.
            options: As of `generate`; `max_tokens` is 1024 here.

        Raises:
            GenerateError: The model has no chat template, or it does not take these turns; or as of `generate`.
            CheckpointError: The model has no tokenizer.
        """
        return "".join(self.chat_stream(messages, **options))

    def chat_stream(self, messages: "Messages", **options: "Unpack[GenerateOptions]") -> Iterator[str]:
        """The answer in pieces, each as soon as its characters are whole; arguments and errors as `chat`'s."""
        template = self._conversations(options.get("adapter", self.adapter))
        options.setdefault("max_tokens", ANSWER_TOKENS)
        (request,) = self._requests([template.ids(messages)], options)
        end = template.turn_end
        request = replace(request, stop_ids=request.stop_ids | end.tokens, stop=(*request.stop, *end.texts))
        return (event.text for event in self._told(self.engine.stream([request]), request.max_tokens) if event.text)

    def events(
        self,
        prompt: "Prompt | Sequence[Prompt]",
        *,
        n: int = 1,
        logprobs: int | None = None,
        prompt_logprobs: int | None = None,
        **options: "Unpack[GenerateOptions]",
    ) -> "Iterator[Event]":
        """What each step of the engine adds to the texts, as it comes; arguments and errors as `complete`'s.

        An error of the model in one text (its completion has `finish` "error") is raised behind all events, so that
        other texts are told to their ends. Closing the iterator before its end ends the texts.

        Returns:
            Events with the prompt's place in the list, the text's number from 0 to n - 1, a token, and text that is
            certain; the last one of a text has its completion.
        """
        requests = self._requests(_listed(prompt), options, n=n, logprobs=logprobs, prompt_logprobs=prompt_logprobs)
        return self._told(self.engine.stream(requests), options.get("max_tokens", MAX_TOKENS))

    def complete(
        self,
        prompt: "Prompt | Sequence[Prompt]",
        *,
        n: int = 1,
        logprobs: int | None = None,
        prompt_logprobs: int | None = None,
        **options: "Unpack[GenerateOptions]",
    ) -> "list[Completion]":
        """All that is known of the texts that continue one prompt or several: tokens, their log-probabilities, the end.

        Args:
            prompt: A text or token ids, or a list of such.
            n: Texts for each prompt, which is read once; text i draws with `seed` + i.
            logprobs: Natural logarithms of the written tokens' probabilities: None is none, 0 those of the tokens
                themselves, k also those of the k likeliest at each position.
            prompt_logprobs: The same of the prompt's tokens.
            options: As of `generate`.

        Returns:
            The completions of the first prompt, then those of the second and so on.

        Raises:
            GenerateError: As of `generate`.
            CheckpointError: The model has no tokenizer, and a prompt is a text.
        """
        events = self.events(
            prompt, n=n, logprobs=logprobs, prompt_logprobs=prompt_logprobs, **options
        )  # fmt: skip
        done = [event.completion for event in events if event.completion is not None]
        return sorted(done, key=lambda completion: (completion.request, completion.sample))

    @overload
    def score(self, texts: str, *, adapter: str | None = None) -> "Score": ...
    @overload
    def score(self, texts: "Sequence[str | tuple[str, str]]", *, adapter: str | None = None) -> "list[Score]": ...
    def score(
        self, texts: "str | Sequence[str | tuple[str, str]]", *, adapter: str | None = None
    ) -> "Score | list[Score]":
        """How likely the model finds texts, each after its context.

        Texts that are longer than the model's context are read in windows of that length; the first token of each
        window has the last one before it as its context.

        Args:
            texts: A text; or a list of texts and of pairs (context, continuation). A text alone has the
                beginning-of-sequence token as its context, which a context has before it too. Spaces between context
                and continuation count to the continuation, as tokenizers cut words.
            adapter: The name of an adapter that the model was loaded with; None is that of all requests.

        Returns:
            The log-probability of each token that is scored, and whether all are the likeliest ones. The perplexity of
            a text is `math.exp(-score.total / len(score.logprobs))`; `puna.perplexity` has windows that overlap.

        Raises:
            GenerateError: Context and continuation of a pair are longer than the model's context, or a pair stands
                where a list is expected.
            CheckpointError: The model has no tokenizer.
        """
        from puna.infer.requests import Score
        from puna.infer.windows import windows

        if isinstance(texts, tuple) and all(isinstance(text, str) for text in texts):
            raise GenerateError(
                "texts is a tuple of texts, which may be a pair or a list of them",
                hint="one pair is [(context, continuation)], several texts are [text, text]",
            )
        pairs, counts = [], []
        for text in [texts] if isinstance(texts, str) else texts:
            most = self.engine.longest
            parts = list(windows(self.scored_ids(text), most, most)) if isinstance(text, str) else [self._pair(*text)]
            pairs += parts
            counts.append(len(parts))
        found = iter(self.engine.score(pairs, adapter=self.adapter if adapter is None else adapter))
        scores = []
        for count in counts:
            parts = [next(found) for _ in range(count)]
            logprobs = tuple(logprob for part in parts for logprob in part.logprobs)
            scores.append(Score(logprobs=logprobs, greedy=all(part.greedy for part in parts)))
        return scores[0] if isinstance(texts, str) else scores

    def scored_ids(self, text: str) -> tuple[int, ...]:
        """The tokens of a text that is scored, after the beginning-of-sequence token.

        Raises:
            CheckpointError: The model has no tokenizer.
        """
        return (self.tokenizer.bos_id, *self._pair("", text)[1])

    def _requests(
        self, prompts: "Sequence[Prompt]", options: GenerateOptions, *, n: int = 1, logprobs: int | None = None,
        prompt_logprobs: int | None = None,
    ) -> "list[Request]":  # fmt: skip
        from puna.infer.requests import Request, Sampling

        stop, most = options.get("stop", ()), options.get("max_tokens", MAX_TOKENS)
        sampling: dict[str, Any] = {"temperature": TEMPERATURE, "top_p": TOP_P, "seed": SEED}
        sampling |= {name: value for name, value in options.items() if name not in _OF_REQUESTS}
        if unknown := sampling.keys() - Sampling.__dataclass_fields__.keys():
            raise GenerateError(f"{min(unknown)} is not an option of generating")
        return [
            Request(
                prompt=self._ids(prompt, options.get("special", False)), max_tokens=most,
                sampling=Sampling(**sampling), n=n, logprobs=logprobs, prompt_logprobs=prompt_logprobs,
                stop=(stop,) if isinstance(stop, str) else tuple(stop),
                stop_ids=frozenset(() if self._tokenizer is None else self._tokenizer.stops),
                guide=options.get("guide"), adapter=options.get("adapter", self.adapter),
            )
            for prompt in prompts
        ]  # fmt: skip

    def _ids(self, prompt: "Prompt", special: bool) -> tuple[int, ...]:
        from puna.tokenizer.bos import prompt_ids, warn_doubled

        if not isinstance(prompt, str):
            try:
                return tuple(map(index, prompt))
            except TypeError:
                raise GenerateError(
                    f"prompt has {type(prompt).__name__}, but must be a text, token ids, or a list of such"
                ) from None
        if not special:
            warn_doubled(self.tokenizer, prompt)
        return tuple(prompt_ids(self.tokenizer, prompt, special=special))

    def _told(self, events: "Iterator[Event]", max_tokens: int) -> "Iterator[Event]":
        """The events; one line says that texts ended because the context is full.

        Raises:
            GenerateError: After the last event: a text has ended in an error.
        """
        from puna.infer.requests import NOT_FINITE
        from puna.infer.sampling import not_finite

        full, error = 0, ""
        for event in events:
            completion = event.completion
            error = error or ("" if completion is None else completion.error)
            full += completion is not None and completion.finish == "length" and len(completion.tokens) < max_tokens
            yield event
        if full:
            which = "" if full == 1 else f" for {full} texts"
            say(f"stopped: the model's context of {self.engine.longest} tokens is full{which}")
        if error:
            raise not_finite() if error == NOT_FINITE else GenerateError(error)

    def _pair(self, context: str, continuation: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        from puna.tokenizer.bos import pair_ids

        return pair_ids(self.tokenizer, context, continuation)


def _listed(prompt: "Prompt | Sequence[Prompt]") -> "list[Prompt]":
    """Several prompts as they are, one as a list of one.

    Raises:
        GenerateError: It is neither, or texts and token ids are mixed.
    """
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, bytes | bytearray) or not isinstance(prompt, Iterable):
        raise GenerateError(f"prompt is {type(prompt).__name__}, but must be a text, token ids, or a list of such")
    parts: list[Any] = list(prompt)
    ids = [int(part) for part in parts if isinstance(part, Integral)]
    if ids and len(ids) < len(parts):
        raise GenerateError("prompt has token ids beside texts, but must be either", hint="give a list of lists of ids")
    return [ids] if ids else parts


def _refuse_figures(options: GenerateOptions) -> None:
    """Refuse what only `complete` and `events` can answer.

    Raises:
        GenerateError: It is asked for.
    """
    for name in ("n", "logprobs", "prompt_logprobs"):
        if name in options:
            raise GenerateError(f"{name} is not an option where texts alone are given", hint="`complete` takes it")
