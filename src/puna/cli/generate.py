"""`puna generate`: the model continues a prompt, or many."""

import contextlib
import gc
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import puna
from puna.api.language_model import MAX_TOKENS, SEED, TEMPERATURE, TOP_P
from puna.cli.arguments import (
    AdapterPath,
    AnyModel,
    CacheAs,
    Context,
    Device,
    Draft,
    From,
    Heads,
    KeyHeads,
    MinP,
    NormEps,
    RepetitionPenalty,
    RopeTheta,
    Temperature,
    Threads,
    TokenizerPath,
    TopK,
    TopP,
    WeightsAs,
    processes,
)
from puna.cli.guides import Choice, JsonSchema, Regex, read_guide
from puna.cli.json_output import json_line
from puna.cli.prompts import Prompt, read_prompts
from puna.core.console import print_text, say
from puna.core.errors import GenerateError
from puna.core.json_lines import is_json_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from puna.api.language_model import LanguageModel
    from puna.infer.requests import Completion, Event, Token


def generate(
    path: AnyModel,
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROMPT]...", help="Texts to continue, several at once; `-` reads one from standard input."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            help="A file with a prompt on each line; of a .jsonl, an object with `prompt`, whose answer is JSON, too.",
            show_default=False,
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens to write at most.")] = MAX_TOKENS,
    temperature: Temperature = TEMPERATURE,
    top_k: TopK = 0,
    top_p: TopP = TOP_P,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The same seed writes the same text.")] = SEED,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="A text that ends the text; may be given several times.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Texts for each prompt.")] = 1,
    json_schema: JsonSchema = None,
    regex: Regex = None,
    choice: Choice = None,
    special: Annotated[
        bool, typer.Option("--special", help="Read control tokens in the prompt as tokens, as a chat template's text.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each text when it ends.")] = False,
    logprobs: Annotated[
        int | None,
        typer.Option(min=0, help="With --json: log-probabilities of the tokens, and this many of the likeliest."),
    ] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Say tokens/s, also where stderr is not a terminal.")] = False,
    adapter: AdapterPath = None,
    weights: WeightsAs = None,
    cache: CacheAs = None,
    draft: Draft = None,
    device: Device = "cpu",
    threads: Threads = None,
    tokenizer: TokenizerPath = None,
    form: From = None,
    heads: Heads = None,
    kv_heads: KeyHeads = None,
    context: Context = None,
    norm_eps: NormEps = None,
    rope_theta: RopeTheta = None,
) -> None:
    """Continue prompts; the text of one goes to standard output as it is written.

    Under torchrun the processes share the model.
    """
    as_json = as_json or (file is not None and is_json_lines(file))
    if logprobs is not None and not as_json:
        raise GenerateError("--logprobs: is shown with --json only")
    guide = read_guide(json_schema, regex, choice)
    rank, size = processes()
    asked = read_prompts(prompts or [], file) if rank == 0 else []  # the others never leave the next line
    texts = [prompt.text for prompt in asked]
    with _lasting():
        model = puna.load(
            path, weights=weights, cache=cache, device=device, threads=threads,
            format=form, tokenizer=tokenizer, heads=heads, kv_heads=kv_heads, context=context, norm_eps=norm_eps,
            rope_theta=rope_theta, split=size > 1, draft=draft, adapter=adapter,
        )  # fmt: skip
    events = model.events(
        texts, n=n, logprobs=logprobs, max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p,
        min_p=min_p, repetition_penalty=repetition_penalty, seed=seed, stop=stop or (), special=special,
        guide=guide,
    )  # fmt: skip
    timed = _Timed(events)
    try:
        if as_json:
            _write_json(timed, asked, model)
        elif len(texts) * n == 1:
            _write_as_it_comes(timed, texts[0])
        else:
            _write_in_order(timed, texts, n)
    finally:
        if stats or sys.stderr.isatty():
            timed.say(model)


@contextlib.contextmanager
def _lasting() -> "Iterator[None]":
    """What is made here stays to the process's end, so Python's collector need not look at it, now or later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _Timed:
    """Events, and how fast they came."""

    def __init__(self, events: "Iterator[Event]") -> None:
        self._events = events
        self._tokens = 0
        self._begin = self._first = self._last = time.perf_counter()

    def __iter__(self) -> "Iterator[Event]":
        for event in self._events:
            self._last = time.perf_counter()
            if event.token is not None:
                self._tokens += 1
                self._first = self._last if self._tokens == 1 else self._first
            yield event

    def say(self, model: "LanguageModel") -> None:
        """One line on stderr."""
        rate = f", {(self._tokens - 1) / (self._last - self._first):.1f} tokens/s" if self._last > self._first else ""
        first = self._first - self._begin
        say(f"{self._tokens} tokens, the first after {first:.2f} s{rate}; {model.runner.title}")


def _write_as_it_comes(events: _Timed, prompt: str) -> None:
    """The prompt and the text behind it; a prompt that the model refuses shows nothing."""
    begun, ended = False, False
    try:
        for event in events:
            ended = event.completion is not None  # and what is said about it comes on a line of its own
            print_text(("" if begun else prompt) + event.text + "\n" * ended)
            begun = True
    finally:  # also where Ctrl-C ends it
        if begun and not ended:
            print_text("\n")


def _write_in_order(events: _Timed, prompts: list[str], n: int) -> None:
    """Each prompt with its texts, with a line between, as soon as those before are complete."""
    first = True
    for completion in _in_order(events, n):
        line = "" if first else "---\n"
        print_text(f"{line}{prompts[completion.request]}{completion.text}\n")
        first = False


def _write_json(events: _Timed, prompts: list[Prompt], model: "LanguageModel") -> None:
    for event in events:
        if event.completion is not None:
            print(json_line(_record(event.completion, prompts[event.completion.request], model)), flush=True)


def _in_order(events: _Timed, n: int) -> "Iterator[Completion]":
    waiting: dict[tuple[int, int], Completion] = {}
    place = (0, 0)
    for event in events:
        if event.completion is not None:
            waiting[event.request, event.sample] = event.completion
        while place in waiting:
            yield waiting.pop(place)
            place = (place[0], place[1] + 1) if place[1] + 1 < n else (place[0] + 1, 0)


def _record(completion: "Completion", prompt: Prompt, model: "LanguageModel") -> dict[str, Any]:
    """All of a text as JSON has it; texts end in their own time, so each says which it is."""
    found: dict[str, Any] = {
        **prompt.own,
        "index": completion.request,
        "sample": completion.sample,
        "prompt": prompt.text,
        "text": completion.text,
        "finish": completion.finish,
        "stop": completion.stop,
        "prompt_tokens": completion.prompt_tokens,
        "cached_tokens": completion.cached_tokens,
        "proposed_tokens": completion.proposed_tokens,
        "accepted_tokens": completion.accepted_tokens,
        "tokens": [token.id for token in completion.tokens],
    }
    if completion.tokens and completion.tokens[0].logprob is not None:
        found["logprobs"] = [_token(token, model) for token in completion.tokens]
    return found


def _token(token: "Token", model: "LanguageModel") -> dict[str, Any]:
    def piece(token: int) -> str:
        # Embeddings may be padded; the ids behind the vocabulary have no text.
        return model.tokenizer.piece(token) if token < model.tokenizer.vocab_size else ""

    best = [{"token": piece(one), "id": one, "logprob": logprob} for one, logprob in token.best]
    return {"token": piece(token.id), "id": token.id, "logprob": token.logprob, "best": best}
