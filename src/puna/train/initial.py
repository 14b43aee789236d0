"""Initial weights that are not drawn: those of a finished model in any format, or of a checkpoint of another run.

The schedule and the order of the data begin again, and so does the optimizer, unless the state that a checkpoint has of
it is to be kept (`train.init_optimizer`).

A model with tokens that are new to the weights gets the mean of the rows in the new ones, in the embedding and
in the output layer: it then gives each new token the probability of an average old one, and what it says of the others
hardly changes (Hewitt 2021, "Initializing new word embeddings for pretrained language models").
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig, Recipe
from puna.core.console import say, warn
from puna.core.errors import CheckpointError, TrainError
from puna.core.files import sha256_file, sha256_json
from puna.core.layout import RunDir
from puna.core.records import read_record
from puna.core.reference import find_moment
from puna.core.schema.lineage import Parent
from puna.core.schema.part import parse
from puna.core.schema.train_state import is_checkpoint, read_header
from puna.model import lora
from puna.model.checkpoint_weights import CheckpointWeights
from puna.model.description import read_config
from puna.model.directory import CONFIG, check_files, resolve_model
from puna.model.files import Rectangles, check_decoder, fill
from puna.model.llama import Llama
from puna.model.weights import open_weights
from puna.parallel.world import World
from puna.train.checkpoint import check_shards, load_tensors
from puna.train.resume import check_kind, saved_recipe

_BY_TOKEN = ("tok_embeddings.weight", "output.weight")
"""The weights with a row for each token."""
_ROWS_AT_ONCE = 4096


class OtherFormat(Protocol):
    """A model in another system's format, opened; `puna.formats.checkpoint.Checkpoint` is one."""

    config: ModelConfig
    path: Path
    """The file or directory that was opened."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that it is read from."""
        ...

    @property
    def weights_sha256(self) -> str | None:
        """The hash of these weights, where one is written down with them; None where the files must be read."""
        ...

    def verify(self) -> None:
        """Compare the files with the hashes that are written down with them."""
        ...

    def tensor(self, name: str) -> Tensor:
        """One parameter by its name in the model."""
        ...


@dataclass(frozen=True, kw_only=True)
class Initial:
    """What a run has begun with."""

    parent: Parent
    """The model or the moment, as the run's lineage names it."""
    lineage: list[Parent] = field(default_factory=list)
    """What the parent comes from, oldest first."""
    checkpoint: Path | None = None
    """The checkpoint, which has the state of an optimizer, too."""
    differs: list[str] = field(default_factory=list)
    """The rotary settings that differ from those of the weights."""
    new_rows: int = 0
    """Tokens that are new to the weights."""

    def check_same(self, weights: str, checkpoint: Path) -> None:
        """Refuse to go on beside other frozen weights than a checkpoint was made with.

        Args:
            weights: The hash of those.
            checkpoint: Where it says so.

        Raises:
            CheckpointError: These are others.
        """
        if self.parent.weights != weights:
            raise CheckpointError(
                f"{self.parent.place}: is not the model that {checkpoint} was trained on, its hash is another",
                hint="what does not learn is in no checkpoint: put the model back, or start again with --force",
            )


@dataclass(frozen=True)
class _Begin:
    """How what is not in the weights begins; arguments of `load_initial`."""

    seed: int
    new_tokens: range
    freeze: Sequence[str]


def load_initial(
    place: str | os.PathLike[str], model: Llama, world: World, other: OtherFormat | None = None, *, seed: int = 0,
    new_tokens: range = range(0), freeze: Sequence[str] = (),
) -> Initial:  # fmt: skip
    """Fill the model, in any layout; each process reads its own part, tensor by tensor.

    Args:
        place: A run (its finished model, else its newest checkpoint), a moment of one (`puna.core.reference`), or a
            model directory; or what names `other`.
        model: Built for the recipe, on its device.
        world: The processes; all of them call this.
        other: The model, where it is in another format than Puna's own.
        seed: Of the first values of updates that learn beside frozen weights, where the model has them.
        new_tokens: The tokens that the weights were not trained with, although some may have rows: vocabularies are
            padded. Rows that are not there are new in any case.
        freeze: Patterns of what does not learn.

    Raises:
        CheckpointError: There are no weights, they are damaged, or they are another decoder's.
        TrainError: Rows of new tokens would have to learn, and a pattern forbids it.
    """
    found = _loaded(os.fspath(place), model, world, other, _Begin(seed, new_tokens, freeze))
    return _said(found, world)


def _loaded(place: str, model: Llama, world: World, other: OtherFormat | None, begin: _Begin) -> Initial:
    if other is not None:
        weights = world.first(lambda: _hash_of(other))
        parent = Parent(how="continued", run=other.path.name, place=place, weights=weights)
        return _filled(model, Initial(parent=parent), other.path, other.config, _Whole(other), begin)
    directory = world.first(lambda: _find(place))
    if not is_checkpoint(directory):
        initial = world.first(lambda: _of_model(directory, place))
        config = read_config(directory)
        with open_weights(directory) as stored:
            return _filled(model, initial, directory / CONFIG, config, stored, begin, stored.check)
    with CheckpointWeights(directory) as stored:
        check_shards(directory, stored.hashes, world)
        initial = _of_checkpoint(stored, place)
        return _filled(model, initial, directory / "state.json", stored.config, stored, begin, stored.check)


def _hash_of(other: OtherFormat) -> str:
    """The hash of the weights of another format: of that which is written down and holds, else of its files."""
    if (known := other.weights_sha256) is not None:
        other.verify()
        return known
    return sha256_json({file.name: sha256_file(file) for file in other.files})


def keep_optimizer(
    initial: Initial, model: Llama, optimizer: torch.optim.Optimizer, recipe: Recipe, world: World
) -> Initial:
    """Give the optimizer of a recipe the state that it had at the checkpoint which the weights are of.

    Raises:
        CheckpointError: The weights are not of a checkpoint; or its state is of another kind, or lacks new tokens.
    """
    place, path = initial.parent.place, initial.checkpoint
    if path is None:
        raise CheckpointError(
            f"train.init_from = {place!r}: is a model, which has no state of an optimizer to keep",
            hint="name a checkpoint, such as RUN@last, or begin with a fresh one: train.init_optimizer=fresh",
        )
    if initial.new_rows:
        raise CheckpointError(
            f"{path}: its optimizer has no state for {initial.new_rows} new tokens",
            hint="begin with a fresh one: train.init_optimizer=fresh",
        )
    theirs = saved_recipe(read_header(path)[0], path)
    check_kind(path, theirs, recipe, "begin with a fresh one: train.init_optimizer=fresh")
    load_tensors(path, model, optimizer, world)
    return replace(initial, parent=initial.parent.model_copy(update={"optimizer": "kept"}))


def _said(initial: Initial, world: World) -> Initial:
    """Say what a user may not expect."""
    if world.main and initial.differs:
        warn(f"{initial.parent.place}: its rotary positions count otherwise: {', '.join(initial.differs)}")
    if world.main and initial.new_rows:
        say(
            f"{initial.parent.place}: the rows of {initial.new_rows} new tokens are the mean of its "
            "others (Hewitt 2021)"
        )
    return initial


def _filled(
    model: Llama, initial: Initial, file: Path, config: ModelConfig, stored: Rectangles, begin: _Begin,
    check: Callable[[Mapping[str, Sequence[int]]], None] = lambda shapes: None,
) -> Initial:  # fmt: skip
    """Fill the model with the weights of a decoder, which is the same but for tokens that are new."""
    rows, wanted = config.vocab_size, model.config.vocab_size
    grown = config.model_copy(update={"vocab_size": max(rows, wanted)})
    differs = check_decoder(file, grown, model.config)
    with torch.device("meta"):
        shapes = {name: tuple(weight.shape) for name, weight in Llama(model.config).named_parameters()}
    check(_stored_shapes(shapes, config))
    new_rows = max(0, wanted - rows) + len(range(begin.new_tokens.start, min(begin.new_tokens.stop, rows)))
    if new_rows:
        stored = _Grown(stored, rows, begin.new_tokens)
        _let_tokens_learn(model, begin.freeze)
    fill(model, stored)
    lora.start(model, begin.seed, stored)
    return replace(initial, differs=differs, new_rows=new_rows)


def _let_tokens_learn(model: Llama, frozen: Sequence[str]) -> None:
    """Let the weights with a row for each token learn, beside updates, too: new tokens are all alike before they do.

    Raises:
        TrainError: A pattern keeps one of them from it.
    """
    for name, parameter in model.named_parameters():
        if name in _BY_TOKEN:
            if found := next((pattern for pattern in frozen if fnmatchcase(name, pattern)), None):
                raise TrainError(
                    f"finetune.freeze: {found!r} keeps {name} from learning, but the chat template has tokens that are "
                    "new to the model, and all alike before they learn",
                    hint="leave it out, or take a template without tokens of its own: finetune.template=plain",
                )
            parameter.requires_grad_(True)  # updates learn beside it, and have kept it frozen


def _stored_shapes(shapes: Mapping[str, Sequence[int]], config: ModelConfig) -> dict[str, Sequence[int]]:
    """The shapes of a model's weights before it has more tokens."""
    grown = {name: (min(shapes[name][0], config.vocab_size), *shapes[name][1:]) for name in _BY_TOKEN if name in shapes}
    return {**shapes, **grown}


def _of_model(directory: Path, place: str) -> Initial:
    """What a model directory says of itself, after every file of it was checked; the run's record tells more."""
    weights = sha256_json(check_files(directory)["outputs"])
    run = RunDir(directory.parent)
    record = read_record(run.record) if run.model == directory else None
    if record is None or record["stage"] != "train":
        return Initial(parent=Parent(how="continued", run=directory.absolute().name, place=place, weights=weights))
    results = record["results"]
    parent = Parent(
        how="continued", run=record["config"]["name"], place=place, step=results["steps"], tokens=results["tokens"],
        weights=weights,
    )  # fmt: skip
    before = [parse(Parent, value, f"{run.record}: lineage") for value in results.get("lineage", [])]
    return Initial(parent=parent, lineage=before)


def _of_checkpoint(stored: CheckpointWeights, place: str) -> Initial:
    """What a checkpoint says of itself."""
    state = stored.state
    parent = Parent(
        how="continued", run=state.recipe["name"], place=place, step=state.step,
        tokens=state.step * state.recipe["train"]["batch_tokens"], weights=sha256_json(stored.hashes),
    )  # fmt: skip
    return Initial(parent=parent, lineage=state.lineage, checkpoint=stored.directory)


class _Whole:
    """The weights of another format, which are read as whole tensors."""

    def __init__(self, other: OtherFormat) -> None:
        self._other = other

    def rectangle(self, name: str, offset: Sequence[int], shape: Sequence[int]) -> Tensor:
        """A part of a tensor."""
        region = tuple(slice(start, start + size) for start, size in zip(offset, shape, strict=True))
        return self._other.tensor(name)[region]


class _Grown:
    """Weights with rows for new tokens, not all of which are stored: the new ones are the mean of the others.

    Args:
        stored: The weights.
        rows: How many rows for tokens they have.
        new: Tokens that are new, though they may have rows.
    """

    def __init__(self, stored: Rectangles, rows: int, new: range = range(0)) -> None:
        self._stored, self._rows, self._new = stored, rows, new
        self._known = min(rows, new.start) if new else rows

    def rectangle(self, name: str, offset: Sequence[int], shape: Sequence[int]) -> Tensor:
        """A part of a tensor."""
        if name not in _BY_TOKEN:
            return self._stored.rectangle(name, offset, shape)
        (top, left), (height, width) = offset, shape
        old = min(height, max(0, self._rows - top))
        part_RC = torch.empty(height, width)
        if old:
            part_RC[:old] = self._stored.rectangle(name, (top, left), (old, width))
        first, end = (min(max(0, row - top), height) for row in (self._new.start, self._new.stop))
        if old < height or first < end:
            part_RC[old:] = part_RC[first:end] = self._mean(name, left, width)
        return part_RC

    def _mean(self, name: str, left: int, width: int) -> Tensor:
        """The mean of known tokens' rows, in columns from `left` on; in float64: no layout changes a bit of it."""
        sum_C = torch.zeros(width, dtype=torch.float64)
        for top in range(0, self._known, _ROWS_AT_ONCE):
            rows = min(_ROWS_AT_ONCE, self._known - top)
            for row_C in self._stored.rectangle(name, (top, left), (rows, width)):
                sum_C += row_C
        return (sum_C / self._known).float()


def _find(place: str) -> Path:
    """The directory of the weights."""
    if (moment := find_moment(place)) is not None:
        if moment.why:
            say(f"train.init_from = {place!r}: {moment.name}, {moment.why}")
        return moment.directory
    try:
        return resolve_model(Path(place))
    except CheckpointError:
        raise CheckpointError(
            f"train.init_from = {place!r}: holds no weights to begin with",
            hint="give a run, a checkpoint of a run (RUN@step-400, RUN@best), or a model in any format",
        ) from None
