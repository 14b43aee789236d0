"""Which examples make which packs of the whole run, from their lengths alone.

The order of the examples (`puna.finetune.mixing`) is cut into windows: parts of a round of at most 65,536 examples,
which never reach into the next round, so that an epoch of a single source is read whole before the next one begins. A
window is packed by best fit decreasing, its packs are shuffled, and batches take packs in order. A window follows from
its number, so that memory holds a few of them, and any batch can be read by itself.
"""

import threading
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from puna.config.recipe import Recipe
from puna.core.errors import ConfigError, DataError
from puna.core.units import counted
from puna.finetune.mixing import Mixing
from puna.finetune.packing import WINDOW, Packs, pack, shuffled
from puna.finetune.token_files import Examples
from puna.shards.loader import read_too_often

_WINDOWS = 4
"""Windows that are kept: a batch may span two, and batches that are read ahead are in the next ones."""

_FEW_STEPS = 20
"""Of shorter runs the user is warned."""


@dataclass(frozen=True)
class Read:
    """What a number of packs read, by source: (sources,) each."""

    examples: NDArray[np.int64]
    tokens: NDArray[np.int64]
    """Positions, padding aside."""

    def __add__(self, other: "Read") -> "Read":
        return Read(self.examples + other.examples, self.tokens + other.tokens)


class Plan:
    """The packs of a run, without an end.

    Args:
        examples: Those to train on.
        recipe: Its mixture, caps, context, seed and batch decide.

    Raises:
        DataError: A source has no examples, or too small a share.
    """

    def __init__(self, examples: Examples, recipe: Recipe) -> None:
        tuning = recipe.finetune
        assert tuning is not None  # noqa: S101 - the caller's recipe is of this kind
        self.examples = examples
        self.context = recipe.model.context
        """Positions of a pack."""
        self._seed, self._together = recipe.seed, tuning.pack
        shares = {name: recipe.mixture[name] for name in examples.names}
        self.settings = [self.context, self._seed, self._together, shares, tuning.task_cap, WINDOW]
        """All that decides the packs besides the examples."""
        tasks = {name: examples.tasks(name)[1] for name in examples.names}
        self.mixing = Mixing(shares, tasks, tuning.task_cap, self._seed)
        self._parts = -(-self.mixing.round // WINDOW)
        """Windows of a round."""
        nothing = np.zeros(len(examples.names), np.int64)
        self._firsts, self._read = [0], [Read(nothing, nothing)]
        """Before each window that was looked at, and behind the last: packs, and what they read."""
        self._lock = threading.Lock()
        self._window = lru_cache(maxsize=_WINDOWS)(self._make)

    def packs(self, first: int, count: int) -> list[NDArray[np.int64]]:
        """The examples of packs `first` to `first + count - 1`, as numbers over all sources."""
        found = []
        for number in range(first, first + count):
            window, before = self._find(number)
            found.append(self._window(window)[number - before])
        return found

    def targets(self, first: int, count: int) -> int:
        """Learned tokens of the packs `first` to `first + count - 1`."""
        return int(sum(self.examples.targets[items].sum() for items in self.packs(first, count)))

    def read(self, packs: int) -> Read:
        """What the first packs of the run read."""
        if not packs:
            return self._read[0]
        window, before = self._find(packs - 1)
        whole = self._window(window)
        return self._read[window] + self._count(whole.items[: whole.starts[packs - before]])

    def packs_of(self, epochs: float) -> int:
        """How many packs hold the examples of this number of epochs, of all sources together."""
        rounds, rest = divmod(epochs, 1.0)
        whole = self._packs_before(int(rounds) * self._parts)
        if rest:
            whole += int(np.ceil(rest * (self._packs_before((int(rounds) + 1) * self._parts) - whole)))
        return whole

    def filled(self, packs: int) -> float:
        """Share of the positions of the first packs that hold tokens; the rest is padding."""
        return int(self.read(packs).tokens.sum()) / (packs * self.context)

    def _make(self, window: int) -> Packs:
        """The packs of a window, whose items are examples."""
        rounds, part = divmod(window, self._parts)
        size = self.mixing.round
        first, end = part * size // self._parts, (part + 1) * size // self._parts
        drawn = self.mixing.examples(rounds * size + first, end - first)
        packs = pack(self.examples.lengths[drawn], self.context, together=self._together)
        packs = shuffled(packs, ["packs", self._seed], window)
        return Packs(drawn[packs.items], packs.starts)

    def _find(self, number: int) -> tuple[int, int]:
        """The window of a pack, and how many packs are before that window."""
        with self._lock:
            while self._firsts[-1] <= number:
                self._look()
            window = int(np.searchsorted(self._firsts, number, side="right")) - 1
            return window, self._firsts[window]

    def _packs_before(self, window: int) -> int:
        with self._lock:
            while len(self._firsts) <= window:
                self._look()
            return self._firsts[window]

    def _look(self) -> None:
        """Count the packs of the next window."""
        packs = self._window(len(self._firsts) - 1)
        self._firsts.append(self._firsts[-1] + len(packs))
        self._read.append(self._read[-1] + self._count(packs.items))

    def _count(self, items: NDArray[np.int64]) -> Read:
        sources = len(self.examples.names)
        labels = self.examples.source(items)
        tokens = np.bincount(labels, self.examples.lengths[items], minlength=sources)
        return Read(np.bincount(labels, minlength=sources), tokens.astype(np.int64))


def derived(recipe: Recipe, plan: Plan) -> Recipe:
    """The recipe with the length of the run and of its warm-up, where [finetune] says them in epochs and as a share.

    The last batch is filled from the next epoch.

    Raises:
        DataError: A source would be read more often than `max_epochs` allows.
        ConfigError: The run that comes of it cannot start.
    """
    tuning = recipe.finetune
    assert tuning is not None  # noqa: S101 - the caller's recipe is of this kind
    if tuning.epochs is not None:
        rows = recipe.train.batch_tokens // recipe.model.context
        steps = max(1, -(-plan.packs_of(tuning.epochs) // rows))
        train = recipe.train.model_copy(update={"tokens": steps * recipe.train.batch_tokens})
        recipe = recipe.model_copy(update={"train": train})
    if tuning.warmup_ratio is not None:
        steps = round(tuning.warmup_ratio * recipe.total_steps)
        recipe = recipe.model_copy(
            update={"optim": recipe.optim.model_copy(update={"warmup_steps": min(steps, recipe.total_steps - 1)})}
        )
    conflicts = [sentence for sentence, _ in recipe.run_conflicts()]
    if recipe.stages:
        conflicts.append("stages are for pre-training: with [finetune] the mixture is one")
    if conflicts:
        raise ConfigError(conflicts)
    if recipe.max_epochs:
        _check_epochs(recipe, plan)
    return recipe


def few_steps(recipe: Recipe, plan: Plan, devices: int) -> str | None:
    """What to say of a run so short that the model hardly changes; None of a longer one.

    Args:
        recipe: With the length of the run, as `derived` gives it.
        plan: Its packs.
        devices: How many take part.
    """
    steps, context, tuning = recipe.total_steps, recipe.model.context, recipe.finetune
    if steps >= _FEW_STEPS:
        return None
    begin = f"a model hardly changes in {counted(steps, 'step')}"
    if devices == 1 and tuning is not None and tuning.epochs is not None:
        rows, micro = plan.packs_of(tuning.epochs) // (2 * _FEW_STEPS), recipe.train.micro_batch_tokens // context
        rows = rows - rows % micro if rows > micro else max(1, rows)
        if (batch := rows * context) < recipe.train.batch_tokens:
            smaller = "" if rows % micro == 0 else f" train.micro_batch_tokens={batch}"
            return f"{begin}; smaller batches give it more: train.batch_tokens={batch}{smaller}"
    return f"{begin}; more epochs or smaller batches give it more: finetune.epochs, train.batch_tokens"


def _check_epochs(recipe: Recipe, plan: Plan) -> None:
    """Refuse a run that would read a source more often than `max_epochs` allows."""
    read = plan.read(recipe.total_tokens // recipe.model.context).examples
    in_epoch = plan.mixing.in_epoch
    epochs = {name: int(count) / in_epoch[name] for name, count in zip(in_epoch, read, strict=True)}
    if found := read_too_often(epochs, recipe.max_epochs):
        name, times = found
        raise DataError(
            f"source {name!r}: the run would read its {in_epoch[name]} examples {times} times, but max_epochs.{name} = "
            f"{recipe.max_epochs[name]:g}",
            hint=f"lower finetune.epochs, train.tokens or the share mixture.{name}, or raise max_epochs.{name}; the "
            "last batch is filled from the next epoch",
        )
