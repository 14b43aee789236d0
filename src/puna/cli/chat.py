"""`puna chat`: a conversation with a model at the terminal, or through a pipe."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

import puna
from puna.api.language_model import ANSWER_TOKENS, SEED, TEMPERATURE, TOP_P
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
from puna.core.console import say

if TYPE_CHECKING:
    from puna.cli.talk import Turns


def chat(
    path: AnyModel,
    system: Annotated[str, typer.Option("--system", help="The system prompt.", show_default=False)] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = ANSWER_TOKENS,
    temperature: Temperature = TEMPERATURE,
    top_k: TopK = 0,
    top_p: TopP = TOP_P,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The same seed gives the same answers.")] = SEED,
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
    """Talk with a model. Lines of a pipe are turns, too: answers go to standard output, all else to standard error.

    Under torchrun the processes share the model.
    """
    from puna.api.chat import Chat, chatting

    interactive = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    model = puna.load(
        path if adapter is not None else chatting(path), weights=weights, cache=cache, device=device, threads=threads,
        format=form, tokenizer=tokenizer, heads=heads, kv_heads=kv_heads, context=context, norm_eps=norm_eps,
        rope_theta=rope_theta, split=processes()[1] > 1, draft=draft, adapter=adapter,
    )  # fmt: skip
    from puna.cli.talk import Talk
    from puna.infer.requests import Sampling

    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty, seed=seed
    )
    partner = Chat(model, system=system, max_tokens=max_tokens, sampling=sampling)
    if interactive:
        say(f"{model.path}: {model.runner.title}; /help lists the commands, Ctrl-D leaves")
    if model.chat_template is None:
        say("the model has no chat template, so it continues the text of all turns instead of answering")
    Talk(partner, _turns(interactive), interactive=interactive).run()


def _turns(interactive: bool) -> "Turns":
    from puna.cli.talk import HELP
    from puna.cli.turns import Lines, Terminal, history_file

    return Terminal(history_file(), [name.partition(" ")[0] for name in HELP]) if interactive else Lines()
