"""Text that the model writes during training."""

from collections.abc import Callable

import torch

from puna.config.recipe import Recipe, SamplesConfig
from puna.core.errors import TrainError
from puna.core.schema.lines import SampleLine
from puna.model.llama import Llama
from puna.ops.attention import gpu_kernels
from puna.parallel.apply import reshard
from puna.parallel.mesh import Mesh
from puna.tokenizer.bos import prompt_ids
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.dashboard import printable
from puna.train.session import Listener, Outcome, Session

Sampler = Callable[[Llama, Tokenizer, str, int], str]
"""Continues a prompt with the model as it is now: model, tokenizer, prompt, seed -> text. Injected from above, because
generation is a sibling of training."""


class Samples(Listener):
    """Lets the model continue the recipe's prompts at intervals, and at the end.

    Args:
        config: The recipe's section.
        tokenizer: The model's.
        seed: The seed of the sampling.
        sample: Writes the model's continuation of a prompt.
        before: Whether the model that a new run begins with writes, too.
    """

    def __init__(
        self, config: SamplesConfig, tokenizer: Tokenizer, seed: int, sample: Sampler, *, before: bool = False
    ) -> None:
        self._config, self._tokenizer, self._seed, self._sample = config, tokenizer, seed, sample
        self._before = before

    def began(self, session: Session) -> None:
        """Write samples before the first step, where that is wanted."""
        if self._before and session.state.step == 0:
            self.write(session)

    def stepped(self, session: Session, outcome: Outcome) -> None:
        """Write samples if they are due."""
        if session.is_due(self._config.every_steps):
            self.write(session)

    def ended(self, session: Session) -> None:
        """Write samples once more."""
        self.write(session)

    def write(self, session: Session) -> None:
        """Continue every prompt, if the layout allows it."""
        if not can_sample(session.mesh):
            return
        session.settle()
        for prompt in self._config.prompts:
            with torch.compiler.set_stance("force_eager"), gpu_kernels(shapes_repeat=False), session.objective.passes():
                text = session.agreed(lambda: self._sample(session.model, self._tokenizer, prompt, self._seed))  # noqa: B023 (called at once)
            session.record(SampleLine, prompt=prompt, text=text)
            session.say(f"step {session.state.step}: " + printable(f"{prompt}|{text}"))
        reshard(session.model)


def check_prompts(recipe: Recipe, tokenizer: Tokenizer) -> None:
    """Refuse before the first step what sampling would refuse in the middle of the run.

    Raises:
        TrainError: A prompt fills the model's context.
    """
    for prompt in recipe.samples.prompts:
        length = len(prompt_ids(tokenizer, prompt))
        if length >= recipe.model.context:
            raise TrainError(
                f"samples.prompts: {prompt[:40]!r} is {length} tokens long, which leaves no room for an answer in "
                f"model.context = {recipe.model.context}"
            )


def can_sample(mesh: Mesh) -> bool:
    """Whether the layout can write text: each device then has whole sequences and whole layers."""
    return mesh.tensor == mesh.context == 1
