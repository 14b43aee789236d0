"""The routes of EasyLM's server, so that its clients and evaluations go on with Puna.

Texts end at the end of the model's context at the latest. What is too long is refused, where EasyLM's server cuts it
off without a word; and a prefix and its text are read as one text, where EasyLM's reads each alone.
"""

from secrets import randbelow

from fastapi import APIRouter, Request, Response

from puna.chat.messages import Message
from puna.infer.requests import LARGEST_SEED, Sampling
from puna.infer.requests import Request as Asked
from puna.serve.answers import completions, unless_left, whole
from puna.serve.body import JsonRoute
from puna.serve.dependencies import From, Models, model_of
from puna.serve.dialogue import dialogue
from puna.serve.easylm_context import context_of, messages_of
from puna.serve.errors import ApiError
from puna.serve.likelihoods import pair_scores, text_scores
from puna.serve.prompts import refuse_long, text_ids, texts_ids
from puna.serve.schema.easylm import (
    TEMPERATURE,
    TOP_K,
    ChatTurnAnswer,
    ChatTurnRequest,
    GenerateAnswer,
    GenerateRequest,
    GreedyUntilAnswer,
    GreedyUntilRequest,
    LikelihoodAnswer,
    LikelihoodRequest,
    RollingAnswer,
    RollingRequest,
)  # fmt: skip
from puna.serve.schema.error import ERRORS
from puna.serve.served_model import ServedModel

router = APIRouter(route_class=JsonRoute, tags=["EasyLM"], responses=ERRORS)


@router.post("/loglikelihood", responses={200: {"model": LikelihoodAnswer}})
async def loglikelihood(body: LikelihoodRequest, models: Models, caller: From, http: Request) -> Response:
    """How likely texts are, each after its prefix."""
    model = model_of(body.model, models)
    prefixes = body.prefix_text or [""] * len(body.text)
    pairs = list(zip(prefixes, body.text, strict=True))
    for place, (prefix, text) in enumerate(pairs):
        refuse_long(prefix + text, model, f"text[{place}]")
    scores = await unless_left(http, pair_scores(model, pairs, caller))
    return whole({
        "prefix_text": prefixes, "text": body.text, "log_likelihood": [score.total for score in scores],
        "is_greedy": [score.greedy for score in scores],
    })  # fmt: skip


@router.post("/loglikelihood-rolling", responses={200: {"model": RollingAnswer}})
async def loglikelihood_rolling(body: RollingRequest, models: Models, caller: From, http: Request) -> Response:
    """How likely texts are that may be longer than the model's context; they are read in windows."""
    scores = await unless_left(http, text_scores(model_of(body.model, models), body.text, caller))
    return whole({
        "text": body.text, "log_likelihood": [score.total for score in scores],
        "is_greedy": [score.greedy for score in scores],
    })  # fmt: skip


@router.post("/generate", responses={200: {"model": GenerateAnswer}})
async def generate(body: GenerateRequest, models: Models, caller: From, http: Request) -> Response:
    """Continue texts as far as there is room."""
    model = model_of(body.model, models)
    temperature = TEMPERATURE if body.temperature is None else body.temperature
    requests = [
        _asked(model, prompt, temperature) for prompt in await texts_ids(body.prefix_text, model, "prefix_text")
    ]
    done = await unless_left(http, completions(model, requests, caller))
    return whole({
        "prefix_text": body.prefix_text, "output_text": [one.text for one in done], "temperature": temperature,
    })  # fmt: skip


@router.post("/greedy-until", responses={200: {"model": GreedyUntilAnswer}})
async def greedy_until(body: GreedyUntilRequest, models: Models, caller: From, http: Request) -> Response:
    """Continue texts with the likeliest tokens until one of their end texts would begin."""
    model = model_of(body.model, models)
    stops = [(until,) if isinstance(until, str) else tuple(until) for until in body.until]
    prompts = await texts_ids(body.prefix_text, model, "prefix_text")
    requests = [_asked(model, prompt, 0.0, stop) for prompt, stop in zip(prompts, stops, strict=True)]
    done = await unless_left(http, completions(model, requests, caller))
    return whole({
        "prefix_text": body.prefix_text, "until": body.until, "max_length": model.longest,
        "output_text": [one.text for one in done],
    })  # fmt: skip


@router.post("/chat", responses={200: {"model": ChatTurnAnswer}})
async def chat(body: ChatTurnRequest, models: Models, caller: From, http: Request) -> Response:
    """Answer the next turn of a conversation, by the model's chat template where it has one."""
    model = model_of(body.model, models)
    context = body.context or ""
    temperature = TEMPERATURE if body.temperature is None else body.temperature
    if model.template is None:
        asked = _asked(model, await text_ids(context + body.prompt, model, "prompt"), temperature)
        (done,) = await unless_left(http, completions(model, [asked], caller))
        context += body.prompt + done.text
    else:
        turns = [*messages_of(context), Message("user", body.prompt)]
        ready = await dialogue(model, turns, (), param="prompt")
        asked = _asked(model, ready.prompt, temperature, ready.stops, ready.stop_ids)
        (done,) = await unless_left(http, completions(model, [asked], caller))
        context = context_of([*turns, Message("assistant", done.text)])
    return whole({"response": done.text, "context": context, "temperature": temperature})


@router.get("/ready", responses={200: {"content": {"application/json": {"schema": {"const": "Ready!\n"}}}}})
async def ready(models: Models) -> Response:
    """Whether the default model answers."""
    if models.states[models.default.name] not in ("ready", "unloaded"):
        raise ApiError(503, "the model is not loaded yet", retry_s=1)
    return whole("Ready!\n")


def _asked(
    model: ServedModel, prompt: tuple[int, ...], temperature: float, stop: tuple[str, ...] = (),
    stop_ids: frozenset[int] = frozenset(),
) -> Asked:  # fmt: skip
    """A request for as much text as there is room for."""
    return Asked(
        prompt=prompt, max_tokens=model.longest, stop=stop, stop_ids=stop_ids.union(model.tokenizer.stops),
        sampling=Sampling(temperature=temperature, top_k=TOP_K if temperature else 0, seed=randbelow(LARGEST_SEED)),
    )  # fmt: skip
