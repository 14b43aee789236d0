"""Answers to fixed prompts while a model is tuned: each prompt is a user's turn, written by the chat template."""

from puna.chat.messages import Message
from puna.chat.template import ChatTemplate
from puna.config.recipe import Recipe, SamplesConfig
from puna.core.errors import GenerateError, TrainError
from puna.infer.plain import generate_ids
from puna.model.llama import Llama
from puna.tokenizer.stream import TextStream
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.samples import Sampler


def chat_sampler(template: ChatTemplate, config: SamplesConfig) -> Sampler:
    """What writes the answer to a prompt, up to the end of the model's turn or `samples.max_tokens`."""
    end = template.turn_end

    def sample(model: Llama, tokenizer: Tokenizer, prompt: str, seed: int) -> str:
        stream, text = TextStream(tokenizer), ""
        ids = generate_ids(
            model, _asked(template, prompt), max_tokens=config.max_tokens, temperature=config.temperature,
            top_p=config.top_p, seed=seed, stop_ids={*tokenizer.stops, *end.tokens},
        )  # fmt: skip
        for token in ids:
            text += stream.push(token)
            if any(tag in text for tag in end.texts):
                break
        else:
            text += stream.finish()
        for tag in end.texts:
            text = text.partition(tag)[0]
        return text

    return sample


def check_chat_prompts(recipe: Recipe, template: ChatTemplate) -> None:
    """Refuse before the first step what sampling would refuse in the middle of the run.

    Raises:
        TrainError: The template does not take a prompt, or it leaves no room for an answer.
    """
    for prompt in recipe.samples.prompts:
        try:
            length = len(_asked(template, prompt))
        except GenerateError as error:
            raise TrainError(f"samples.prompts: {prompt[:40]!r}: {error.message}", hint=error.hint) from None
        if length >= recipe.model.context:
            raise TrainError(
                f"samples.prompts: {prompt[:40]!r} is {length} tokens long as a chat, which leaves no room for an "
                f"answer in model.context = {recipe.model.context}"
            )


def _asked(template: ChatTemplate, prompt: str) -> list[int]:
    return template.ids([Message("user", prompt)])
