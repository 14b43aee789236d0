"""One process's part of a run: everything that the steps work with, made in the order in which it is needed."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from puna.config.recipe import Recipe
from puna.core.console import say, warn
from puna.core.errors import EXIT_CODE, TrainError, UserError
from puna.core.layout import DataDir, RunDir
from puna.core.schema.train_state import TrainState
from puna.core.units import format_count
from puna.model.llama import Llama
from puna.ops.attention import attention_backend
from puna.parallel.mesh import Mesh
from puna.parallel.objective import Objective
from puna.parallel.world import World
from puna.plan.count import parameters
from puna.shards.loader import Loader
from puna.shards.prefetch import Prefetch
from puna.shards.shards import TokenShards
from puna.tokenizer.bos import prompt_ids
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.device import Device
from puna.train.display import Display
from puna.train.metrics import Metrics, NoMetrics
from puna.train.optimizer import Optimizer, describe_groups
from puna.train.saver import Saver
from puna.train.stability import Monitor

Agreed = TypeVar("Agreed")

Sampler = Callable[[Llama, Tokenizer, str, int], str]
"""Continues a prompt with the model as it is now: model, tokenizer, prompt, seed -> text. Injected from above, because
generation is a sibling of training."""


_MOST_BF16_PASSES = 32
"""The sum of so many gradients in bfloat16 is off by less than its rounding's 0.4 %; that of 256 by 2 %."""


@dataclass
class Clock:
    """Where the time of this session goes, in seconds."""

    began: float = field(default_factory=time.perf_counter)
    saved: float = field(default_factory=time.perf_counter)
    """When the wall time was last added to the state."""
    steps: float = 0.0
    """In optimizer steps since the last line of metrics."""
    waited: float = 0.0
    """Of these, waiting for data."""
    n_steps: int = 0
    first_step: int = 0
    """Steps done when the session began."""


@dataclass
class Session:
    """What a process trains with."""

    recipe: Recipe
    run: RunDir
    world: World
    mesh: Mesh
    device: Device
    tokenizer: Tokenizer
    loader: Loader
    heldout: dict[str, TokenShards]
    model: Llama
    objective: Objective
    optimizer: Optimizer
    state: TrainState
    monitor: Monitor
    metrics: Metrics | NoMetrics
    display: Display | None
    """On the main process."""
    saver: Saver
    sample: Sampler
    clock: Clock = field(default_factory=Clock)
    source_sums: torch.Tensor | None = None
    """Nats and sequences of each source since the last line of metrics, (2, sources)."""

    @property
    def rows(self) -> int:
        """Sequences of a batch, on all devices."""
        return self.recipe.train.batch_tokens // self.recipe.model.context

    @property
    def micro_rows(self) -> int:
        """Sequences of one pass on one device."""
        return self.recipe.train.micro_batch_tokens // self.recipe.model.context

    @property
    def passes(self) -> int:
        """Passes of a batch on each device."""
        return self.rows // (self.micro_rows * self.mesh.batches)

    @property
    def tokens(self) -> int:
        """Tokens that the steps done stand for."""
        return self.state.step * self.recipe.train.batch_tokens

    def sequences_by_source(self) -> dict[str, int]:
        """Sequences of the steps done by source; those that rollbacks passed over are not among them."""
        counts = self.loader.counts(self.state.batch_number(self.state.step - 1) * self.rows + self.rows)
        before = 0
        for since, batches in self.state.shifts:
            start = (since + before) * self.rows
            passed_over = self.loader.counts(start + batches * self.rows)
            for name, count in self.loader.counts(start).items():
                counts[name] -= passed_over[name] - count
            before += batches
        return counts

    def epochs_by_source(self) -> dict[str, float]:
        """How often the steps done have read each source."""
        return {name: count / self.loader.chunks[name] for name, count in self.sequences_by_source().items()}

    def say(self, text: str) -> None:
        """Tell people, once."""
        if self.world.main:
            say(text)

    def agreed(self, action: Callable[[], Agreed]) -> Agreed:
        """What `action` gives, where all processes come to the same; an error of all is told once.

        Raises:
            UserError: On the main process; the others leave with the same exit code.
        """
        try:
            return action()
        except UserError:
            if self.world.main:
                raise
            raise SystemExit(EXIT_CODE) from None

    def count_step_time(self, seconds: float) -> None:
        """Add to the time in optimizer steps."""
        self.clock.steps += seconds
        self.state.train_seconds += seconds

    def settle(self) -> None:
        """Wait until the device has done the steps that it was asked for; that time is theirs.

        Called before anything else is timed: a GPU works on while this process has gone ahead.
        """
        started = time.perf_counter()
        self.device.synchronize()
        self.count_step_time(time.perf_counter() - started)

    def batches(self) -> Prefetch:
        """This device's passes from the current step to the end of the run, read ahead."""
        return Prefetch(self.loader, self._requests())

    def _requests(self) -> Iterator[tuple[int, int]]:
        for step in range(self.state.step, self.recipe.total_steps):
            first = self.state.batch_number(step) * self.rows + self.mesh.batch_index * self.micro_rows
            for number in range(self.passes):
                yield first + number * self.micro_rows * self.mesh.batches, self.micro_rows


def open_data(
    recipe: Recipe, data: DataDir, tokenizer: Tokenizer, *, verify: bool
) -> tuple[Loader, dict[str, TokenShards]]:
    """The training sequences and the held-out shards.

    Args:
        recipe: What to train.
        data: Where its shards lie.
        tokenizer: The one that they were written with.
        verify: Whether every file is compared with its hash; its size is compared in any case.

    Raises:
        DataError: Shards are missing, damaged, of another tokenizer, or too few for the epochs that are allowed.
        TrainError: The tokenizer is of another size than the model.
    """
    if tokenizer.vocab_size != recipe.model.vocab_size:
        raise TrainError(
            f"{data.tokenizer}: has {tokenizer.vocab_size} tokens, but model.vocab_size = {recipe.model.vocab_size}"
        )

    def open_split(split: str) -> dict[str, TokenShards]:
        return {
            source: TokenShards.open(data.shards / source / split, tokenizer_sha256=tokenizer.sha256, verify=verify)
            for source in recipe.mixture
        }

    loader = Loader(open_split("train"), recipe)
    loader.check_epochs(recipe.total_steps * recipe.train.batch_tokens // recipe.model.context, recipe.max_epochs)
    return loader, open_split("heldout")


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


def can_sample(session: Session) -> bool:
    """Whether the layout can write text: each device then has whole sequences and whole layers."""
    return session.mesh.tensor == session.mesh.context == 1


def announce(session: Session) -> None:
    """Say what is about to be trained, and how."""
    recipe, device, train = session.recipe, session.device, session.recipe.train
    session.say(
        f"{recipe.name}: {format_count(parameters(recipe.model).total)} parameters, {format_count(train.tokens)} "
        f"tokens in {recipe.total_steps} steps of {train.batch_tokens} tokens, {train.precision}"
        f"{' with float8 products' if train.float8 else ''}"
    )
    session.say(f"{device.name}: {device.peak_flops / 1e9:.0f} GFLOP/s at best ({device.peak_source})")
    session.say(
        f"{session.mesh.describe()}; {session.passes} passes of {train.micro_batch_tokens} tokens per device and step; "
        f"recompute {train.recompute}, {'compiled' if train.compile else 'eager'}"
    )
    dtype = torch.float32 if train.precision == "fp32" else torch.bfloat16
    kind = session.world.device.type
    # A device that shares its sequences works on two parts of each, whose queries come after other devices' keys.
    parts = 2 * session.mesh.context if session.mesh.context > 1 else 1
    masked = train.document_mask or (parts > 1 and train.compile)
    name, reason = attention_backend(kind, dtype, recipe.model.context // parts, masked)
    session.say(f"attention: {name} ({reason})")
    for line in describe_groups(session.model, session.optimizer):
        session.say(line)
    if train.precision == "bf16-stochastic" and session.passes > _MOST_BF16_PASSES and session.world.main:
        warn(
            f"gradients of {session.passes} passes per step are added up in bfloat16, which loses small ones; raise "
            "train.micro_batch_tokens, use more devices, or train.precision = 'bf16'"
        )
    if recipe.samples.prompts and not can_sample(session) and session.world.main:
        warn("no samples are written while parallel.tensor or parallel.context is above 1; `puna generate` will write")
