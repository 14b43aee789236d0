"""A training session: a model, its data, its objective and its optimizer, and the step that joins them.

`Session.open` makes from a recipe whatever it is not given. Runs (`puna.train.job`), the measurements of
`puna tune` and the proofs about a step all take their steps with it:

```python
with joined() as world, Session.open(recipe, world, feed) as session:
    run(session)  # puna.train.loop
```

Every process of a run goes through all of this together.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self, TypeVar

import torch
from torch import Tensor

from puna.config.recipe import Recipe
from puna.core.console import say
from puna.core.errors import Interrupted, OtherProcessError, TrainError, UserError
from puna.core.layout import RunDir
from puna.core.schema.lines import Line
from puna.core.schema.train_state import TrainState, list_checkpoints
from puna.model.frozen import learns_in_part
from puna.model.llama import Llama
from puna.parallel.apply import build_model, set_last_pass
from puna.parallel.mesh import Mesh, build_mesh
from puna.parallel.objective import Objective, Passed
from puna.parallel.world import World
from puna.plan.count import flops_per_token
from puna.plan.learning import learning_of
from puna.train.checkpoint import load_tensors
from puna.train.device import Device, find_device
from puna.train.feed import Batch, Feed, Passes, sums_by_source
from puna.train.gradient import all_finite, clip_divisor, gradient_norm
from puna.train.initial import OtherFormat, keep_optimizer, load_initial
from puna.train.interrupt import Interrupt
from puna.train.optimizer import Optimizer, build_optimizer, set_learning_rate
from puna.train.saver import Saver
from puna.train.schedule import schedule_of
from puna.train.stability import FINE, Monitor, Verdict, ways_on

Agreed = TypeVar("Agreed")


@dataclass
class Clock:
    """Where the time of a session goes, in seconds."""

    began: float = field(default_factory=time.perf_counter)
    saved: float = field(default_factory=time.perf_counter)
    """When the wall time was last added to the state."""
    steps: float = 0.0
    """In optimizer steps since the last line of metrics."""
    waited: float = 0.0
    """The part of `steps` spent waiting for data."""
    n_steps: int = 0
    first_step: int = 0
    """Steps done when the session began."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a step; its numbers stay on the device until they are read."""

    loss: Tensor
    """Mean of the whole batch in nats per target."""
    norm: Tensor
    """Norm of the whole gradient, before clipping."""
    lr: float
    verdict: Verdict
    """Whether the weights were changed."""


class Learns(Protocol):
    """Computes losses from batches; `puna.parallel.objective.Objective` does it for tokens."""

    def passes(self) -> AbstractContextManager[Any]:
        """A context for forward and backward passes; leave it before the optimizer moves the weights."""
        ...

    def train(self, passed: Passed) -> tuple[Tensor, Tensor]:
        """What to differentiate, with the gradients of the sum of this device's losses; and its losses, (B, P).

        A sequence's losses are those of all devices that share its tokens, of which each has its part.
        """
        ...


class Listener:
    """Receives the events of a session: metrics, displays, validation, samples, and users' own listeners.

    Override the methods for the events you want. Every process calls its listeners in their order, at the same steps. A
    listener that runs the model must exist on all processes, because they compute together; one that only writes or
    shows need not.
    """

    def began(self, session: "Session") -> None:
        """The steps are about to begin, of a new run or of one that goes on."""

    def stepped(self, session: "Session", outcome: Outcome) -> None:
        """An optimizer step was taken, and logged if that was due; its checkpoint is not saved yet."""

    def recorded(self, session: "Session", line: Line) -> None:
        """A line of metrics was made: a logged step, a validation, a sample, a checkpoint, a spike."""

    def ended(self, session: "Session") -> None:
        """All steps of the run are done."""


@dataclass(kw_only=True)
class Session:
    """All parts of training in one process; as a context, it catches signals and waits for the last checkpoint."""

    recipe: Recipe
    world: World
    mesh: Mesh
    device: Device
    feed: Feed
    model: Llama
    objective: Objective
    """Computes the losses of tokens."""
    learns_by: "Learns"
    """Computes the losses of the steps; the objective, unless the session learns from something else than tokens."""
    optimizer: Optimizer
    schedule: Callable[[int], float]
    """The learning rate of the next step, from the number of steps done."""
    state: TrainState
    monitor: Monitor
    saver: Saver | None
    """Writes checkpoints; None if nothing is saved."""
    listeners: list[Listener] = field(default_factory=list)
    interrupt: Interrupt = field(default_factory=Interrupt)
    clock: Clock = field(default_factory=Clock)
    outcome: Outcome | None = None
    """Loss, gradient norm and verdict of the last step; None before the first."""
    returns: int = 0
    """How often the run has gone back to the newest checkpoint since it was saved."""
    source_sums: Tensor | None = None
    """Nats and targets of each source since the last line of metrics, (2, sources)."""

    @classmethod
    def open(
        cls,
        recipe: Recipe,
        world: World,
        feed: Feed,
        *,
        run: RunDir | None = None,
        checkpoint: tuple[Path, TrainState] | None = None,
        device: Device | None = None,
        mesh: Mesh | None = None,
        model: Llama | None = None,
        objective: Objective | None = None,
        learns_by: "Learns | None" = None,
        optimizer: Optimizer | None = None,
        schedule: Callable[[int], float] | None = None,
        listeners: list[Listener] | None = None,
        weights: OtherFormat | None = None,
        new_tokens: range = range(0),
    ) -> Self:
        """A session of the recipe; parts that are not given are made from the recipe.

        Args:
            recipe: Its sections [model], [train], [optim], [parallel], [stability] and [checkpoint].
            world: The processes.
            feed: The batches to learn from.
            run: The directory for checkpoints; None saves nothing.
            checkpoint: The checkpoint to go on from, and its state; None begins a run.
            device: The description of the device.
            mesh: The layout.
            model: The decoder in its layout with its initial weights; by default those of `train.init_from`, or drawn
                from the seed.
            objective: Computes the losses of tokens, on this model.
            learns_by: Computes the losses of the steps; None is the objective.
            optimizer: Over the model's parameters.
            schedule: The learning rate of the next step, from the number of steps done.
            listeners: In the order in which they are called.
            weights: What `train.init_from` names, opened, where it is in another format than Puna's own.
            new_tokens: Tokens that it was not trained with.

        Raises:
            TrainError: The settings cannot work together.
            CheckpointError: The checkpoint is not of this model.
        """
        mesh = mesh or build_mesh(recipe.parallel, world)
        device = device or find_device(recipe.train.precision, recipe.energy, world.device)
        state, initial = TrainState(data_fingerprint=feed.fingerprint), None
        if model is None:
            begins = recipe.train.init_from
            model = build_model(recipe, mesh, world.device, drawn=checkpoint is None and begins is None)
            # What does not learn is in no checkpoint.
            if begins is not None and (checkpoint is None or learns_in_part(model)):
                freeze = recipe.finetune.freeze if recipe.finetune is not None else ()
                initial = load_initial(
                    begins, model, world, weights, seed=recipe.seed, new_tokens=new_tokens, freeze=freeze
                )
        if optimizer is None:
            compiled = recipe.train.compile and device.on_gpu
            optimizer = build_optimizer(model, recipe.optim, recipe.train.precision, recipe.seed, compiled=compiled)
        objective = objective or Objective.of(recipe, model, mesh, feed.bos_id)
        if initial is not None and checkpoint is None:
            if recipe.train.init_optimizer == "keep":
                initial = keep_optimizer(initial, model, optimizer, recipe, world)
            state.initial_weights, state.lineage = initial.parent.weights, [*initial.lineage, initial.parent]
        if checkpoint is not None:
            path, state = checkpoint
            if initial is not None:
                initial.check_same(state.initial_weights, path)
            load_tensors(path, model, optimizer, world)
            device = device.with_peak(state.peak_flops.get(device.name, 0.0))
        return cls(
            recipe=recipe, world=world, mesh=mesh, device=device, feed=feed, model=model, objective=objective,
            learns_by=learns_by or objective,
            optimizer=optimizer, state=state, clock=Clock(first_step=state.step), listeners=listeners or [],
            schedule=schedule or schedule_of(recipe),
            monitor=Monitor(recipe.stability, state.history, state.recent),
            saver=None if run is None else Saver(run, recipe.checkpoint, world),
        )  # fmt: skip

    def __enter__(self) -> Self:
        self.interrupt.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.interrupt.__exit__(kind, error, trace)
        if self.saver is not None:
            self.saver.__exit__(kind, error, trace)

    @property
    def rows(self) -> int:
        """Sequences of a batch, on all devices."""
        return self.recipe.train.batch_tokens // self.recipe.model.context

    @property
    def passes(self) -> int:
        """Passes of a batch on each device."""
        return self.recipe.train.batch_tokens // (self.recipe.train.micro_batch_tokens * self.mesh.batches)

    @cached_property
    def flops_per_token(self) -> dict[str, float]:
        """FLOPs of a token by convention (`puna.plan.count`), with gradients only of what needs them."""
        recipe, learning = self.recipe, None
        if recipe.finetune is not None:
            learning = learning_of(recipe, tokens_learn=self.model.tok_embeddings.weight.requires_grad)
        return flops_per_token(recipe.model, recipe.model.context, learning)

    @property
    def tokens(self) -> int:
        """Tokens of the steps done."""
        return self.state.step * self.recipe.train.batch_tokens

    def batches(self) -> AbstractContextManager[Passes]:
        """This device's passes from the current step to the end of the run, read ahead."""
        numbers = map(self.state.batch_number, range(self.state.step, self.recipe.total_steps))
        return self.feed.read(
            numbers, passes=self.passes, reader=self.mesh.batch_index, readers=self.mesh.batches
        )  # fmt: skip

    def step(self, passes: Iterator[Batch]) -> Outcome:
        """Take one optimizer step on the next passes of this device, and count it; its time is added to the clock.

        Where the recipe acts on spikes, loss and norm are read before the weights change, which waits for the device.

        Raises:
            TrainError: Too many batches one after another were not fit to learn from.
        """
        started = time.perf_counter()
        lr, before = self.schedule(self.state.step), self.source_sums
        targets = self.feed.targets(self.state.batch_number(self.state.step))
        loss = self._learn(passes, targets).sum() / targets
        norm = gradient_norm(self.model)
        verdict = FINE
        if self.recipe.stability.action != "stop":
            both = torch.stack((loss, norm.double()))
            verdict = self.or_gives_up(lambda: self.monitor.judge(*both.tolist()))
        if not verdict.fine:
            self.source_sums = before
        else:
            set_learning_rate(self.optimizer, lr)
            if self.saver is not None:
                self.saver.before_update()
            self.optimizer.step(clip_divisor(norm, self.recipe.optim.clip_norm))
        self.optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        self.count_step_time(time.perf_counter() - started)
        self.clock.n_steps += 1
        self.outcome = Outcome(loss=loss, norm=norm, lr=lr, verdict=verdict)
        return self.outcome

    def _learn(self, passes: Iterator[Batch], targets: int) -> Tensor:
        """Forward and backward over this device's part of a batch; the losses of all devices by source, float64."""
        device, sources = self.world.device, len(self.feed.names)
        sums_2S = torch.zeros(2, sources, dtype=torch.float64, device=device)
        with self.learns_by.passes():
            for number in range(self.passes):
                batch = next(passes)
                passed = batch.sent(device)
                set_last_pass(self.model, self.mesh, last=number == self.passes - 1)
                total, losses_BP = self.learns_by.train(passed)
                (total / targets).backward()
                sums_2S += sums_by_source(batch, losses_BP, sources, self.mesh)
        self.world.sum(sums_2S)
        sums_2S /= self.mesh.tensor
        self.source_sums = sums_2S if self.source_sums is None else self.source_sums + sums_2S
        return sums_2S[0]

    def tokens_by_source(self) -> dict[str, int]:
        """Tokens of the steps done, by source, without those that rollbacks passed over."""
        return self._done(self.feed.tokens)

    def epochs_by_source(self) -> dict[str, float]:
        """How often the steps done have read each source."""
        return {name: count / self.feed.in_epoch[name] for name, count in self._done(self.feed.sequences).items()}

    def _done(self, counted: Callable[[int], dict[str, int]]) -> dict[str, int]:
        """What the steps done have read; `counted` says what a number of batches from the first one on holds."""
        counts = dict(counted(self.state.batch_number(self.state.step - 1) + 1))
        before = 0
        for since, batches in self.state.shifts:
            start = since + before
            passed_over = counted(start + batches)
            for name, count in counted(start).items():
                counts[name] -= passed_over[name] - count
            before += batches
        return counts

    def is_due(self, every_steps: int) -> bool:
        """Whether something done every `every_steps` steps is due; after the last step `ended` is called instead.

        Where it is, the weights are known to be finite.

        Raises:
            TrainError: They are not.
        """
        due = self.state.step != self.recipe.total_steps and self.state.step % every_steps == 0
        if due:
            self.check_weights()
        return due

    def check_loss(self) -> None:
        """Make sure that the last step's loss and gradient are finite, if it changed the weights; waits for the device.

        Raises:
            TrainError: They are not, so no later step can repair the weights.
        """
        if self.outcome is None or not self.outcome.verdict.fine:
            return
        loss, norm = self.outcome.loss.item(), self.outcome.norm.item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._give_up(f"step {self.state.step}: the loss is {loss} and the gradient's norm {norm}")

    def check_weights(self) -> None:
        """Make sure that loss, gradient and weights are finite, before a checkpoint or anybody else reads the weights.

        Raises:
            TrainError: They are not.
        """
        self.settle()
        self.check_loss()
        if self.world.largest(int(not all_finite(self.model))):
            self._give_up(f"step {self.state.step}: its update left weights that are not finite")

    def _give_up(self, sentence: str) -> NoReturn:
        """Raise the error of a run whose weights are lost, with the ways on that are open."""
        if self.world.main:
            raise TrainError(sentence, hint=self._ways_on())
        raise OtherProcessError

    def _ways_on(self) -> str:
        run = None if self.saver is None else self.saver.run
        checkpoints = [] if run is None else list_checkpoints(run)
        return ways_on(self.recipe, run, checkpoints[-1][1] if checkpoints else None)

    def or_gives_up(self, action: Callable[[], Agreed]) -> Agreed:
        """As `agreed`, of an action that ends the run where it must not go on; its error then has the ways on."""
        try:
            return self.agreed(action)
        except TrainError as error:
            raise TrainError(error.message, hint=self._ways_on()) from None

    def record(self, kind: type[Line], **values: Any) -> None:
        """Send a line of metrics for the current step to all listeners; `values` are its other fields."""
        line = kind(step=self.state.step, tokens=self.tokens, **values)
        for listener in self.listeners:
            listener.recorded(self, line)

    def say(self, text: str) -> None:
        """Print a message, on the main process only."""
        if self.world.main:
            say(text)

    def agreed(self, action: Callable[[], Agreed]) -> Agreed:
        """The result of `action`, which is the same on all processes; an error that all have is reported once.

        Raises:
            UserError: On the main process.
            OtherProcessError: On the others.
        """
        try:
            return action()
        except UserError:
            if self.world.main:
                raise
            raise OtherProcessError from None

    def leave_if_asked(self) -> None:
        """End the command after a signal to any process, while no step is done: there is no state to save.

        All processes call it.

        Raises:
            Interrupted: A signal came.
        """
        if signal := self.world.largest(self.interrupt.signal or 0):
            raise Interrupted(signal)

    def count_step_time(self, seconds: float) -> None:
        """Add to the time in optimizer steps."""
        self.clock.steps += seconds
        self.state.train_seconds += seconds

    def settle(self) -> None:
        """Wait until the device has finished its steps; the waiting counts as time of the steps.

        Call it before anything else is timed: a GPU still works on steps that this process has left behind.
        """
        started = time.perf_counter()
        self.device.synchronize()
        self.count_step_time(time.perf_counter() - started)
