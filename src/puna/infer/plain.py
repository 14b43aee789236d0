"""The plain loop: one text at a time, one token at a time, with a key-value cache; its text comes in whole characters.

It writes the samples during training, on a model that may be sharded, and it is what the engine is measured against:
both draw with the same function, so where the logits' bits agree the texts do.
"""

from collections.abc import Callable, Collection, Iterator

import torch

from puna.core.errors import GenerateError
from puna.infer.requests import Sampling
from puna.infer.sampling import Draw, checked, choose
from puna.model.cache import new_caches
from puna.model.llama import Llama
from puna.tokenizer.bos import prompt_ids, warn_doubled
from puna.tokenizer.stream import TextStream
from puna.tokenizer.tokenizer import Tokenizer


def generate_ids(
    model: Llama,
    prompt_ids: list[int],
    *,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stop_ids: Collection[int],
    on_stop: Callable[[str], None] = lambda reason: None,
) -> Iterator[int]:
    """The token ids that follow `prompt_ids`, until the end of the text, `max_tokens` or the model's context.

    Args:
        model: On any device; it is not changed and no global random state is used.
        prompt_ids: The prompt, beginning-of-sequence token included.
        max_tokens: Tokens to write at most.
        temperature: 0 takes the most likely token each time.
        top_p: Nucleus sampling.
        seed: The same seed writes the same tokens.
        stop_ids: The tokens that end a text; they are not yielded.
        on_stop: Told when the context is full.

    Raises:
        GenerateError: The prompt does not leave room for one token.
    """
    config = model.config
    if len(prompt_ids) >= config.context:
        raise GenerateError(
            f"the prompt is {len(prompt_ids)} tokens long, but the model's context is {config.context} and one of them "
            "is needed to answer",
            hint="shorten the prompt",
        )
    length = min(config.context, len(prompt_ids) + max_tokens)
    weight = model.tok_embeddings.weight
    sampling = Sampling(temperature=temperature, top_p=top_p, seed=seed)
    caches = new_caches(config, length)
    tokens_BT = torch.tensor([prompt_ids], device=weight.device)
    position = 0
    while position + tokens_BT.shape[1] < length:
        with torch.no_grad():
            x_BTD = model.hidden(tokens_BT, caches, position)
            position += tokens_BT.shape[1]
            logits_BV = model.output(x_BTD[:, -1])
            token = checked(choose(logits_BV, [Draw(sampling, seed, position - len(prompt_ids))]).tolist())[0]
        if token in stop_ids:
            return
        yield token
        tokens_BT = torch.tensor([[token]], device=weight.device)
    if length == config.context and len(prompt_ids) + max_tokens > config.context:
        on_stop(f"stopped: the model's context of {config.context} tokens is full")


def generate(
    model: Llama,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
) -> Iterator[str]:
    """Pieces of text that follow the prompt, never half a character; arguments as for `generate_ids`."""
    warn_doubled(tokenizer, prompt)
    stream = TextStream(tokenizer, starts_text=not prompt)
    ids = generate_ids(
        model, prompt_ids(tokenizer, prompt), max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed,
        stop_ids=tokenizer.stops,
    )  # fmt: skip
    for token in ids:
        if text := stream.push(token):
            yield text
    if text := stream.finish():
        yield text


def generate_text(
    model: Llama, tokenizer: Tokenizer, prompt: str, *, max_tokens: int, temperature: float, top_p: float, seed: int
) -> str:
    """The whole text that follows the prompt."""
    return "".join(
        generate(
            model, tokenizer, prompt, max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed
        )
    )  # fmt: skip
