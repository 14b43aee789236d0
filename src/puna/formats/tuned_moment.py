"""The model that a run of tuning was at one step, where its checkpoint holds only what learns.

Frozen weights come from the model that the run began with, which must be the one that it was trained on, by its hash.
Low-rank updates are merged into them as each is read, which gives the weights that the finished run has.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor

from puna.config.finetune import FinetuneConfig, LoraConfig
from puna.core.errors import CheckpointError
from puna.core.files import sha256_file, sha256_json
from puna.core.hub_name import hub_name
from puna.core.layout import RunDir
from puna.core.reference import find_moment, run_of
from puna.core.schema.train_state import TrainState, read_header
from puna.formats.adapted import AdaptedCheckpoint
from puna.formats.cache import snapshot_of
from puna.formats.checkpoint import Checkpoint, Hints, Stored
from puna.formats.hub import fetch
from puna.formats.moment.read import MomentCheckpoint, base_place
from puna.formats.registry import format_of
from puna.model.adapter import Adapter, LowRank, scale_of
from puna.model.directory import CONFIG, check_files
from puna.model.parts import UPDATE, is_update
from puna.ops.quantized import Blocks
from puna.tokenizer.tokenizer import Tokenizer


class TunedMoment(AdaptedCheckpoint):
    """A checkpoint of what learns, with the model that it was trained on.

    Args:
        moment: What has learned, at one step.
        base: The model.
        adapter: The same as updates, and parameters that learn whole.
        rounded: Whether the frozen matrices of blocks were rounded to bfloat16 for the passes.

    Raises:
        CheckpointError: They do not belong to the same decoder.
        FormatError: Likewise.
    """

    format = "puna-checkpoint"

    def __init__(self, moment: MomentCheckpoint, base: Checkpoint, adapter: Adapter, *, rounded: bool) -> None:
        super().__init__(base, adapter, moment.path)
        adapter.check(self.config, str(moment.path))
        if other := [name for name, weight in self.weights.items() if weight.shape != moment.weights[name].shape]:
            raise CheckpointError(
                f"{moment.path}: {other[0]} does not learn and is larger than that of {base.path}",
                hint="finish the run, which leaves a model",
            )
        self._moment, self._updates, self._rounded = moment, adapter.updates, rounded
        self._base_sha256 = read_header(moment.path)[0].initial_weights
        self.path, self.config, self.step = moment.path, moment.config, moment.step
        self.notes, self.extra = moment.notes, []
        self.chat_template, self.stop_ids = moment.chat_template, ()
        own = {name: stored for name, stored in moment.stored.items() if name in self.weights}
        others = self.weights.keys() - own.keys()
        self.stored = own | {name: Stored("float32", 4 * self.weights[name].numel) for name in others}

    def tensor(self, name: str) -> Tensor:
        """One parameter, as the run would leave it if it ended here.

        Raises:
            FormatError: The base is damaged.
        """
        weight = super().tensor(name)
        if name in self._whole:
            return weight
        if self._rounded and self.weights[name].is_matrix and name.startswith("layers."):
            weight = weight.to(torch.bfloat16)
        update = self._updates.get(name.removesuffix(".weight"))
        return weight.float() if update is None else update.merged(weight)

    def blocks(self, name: str) -> Blocks | None:
        """None: the run has computed with what the blocks of its base stand for."""
        return None

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the run."""
        return self._moment.tokenizer()

    def verify(self) -> None:
        """Compare the checkpoint's files with their hashes; those of the base were compared when it was opened."""
        self._moment.verify()

    @property
    def weights_sha256(self) -> str:
        """Of the hash of what has learned, and of that of the base."""
        return sha256_json([self._moment.weights_sha256, self._base_sha256])

    @property
    def files(self) -> list[Path]:
        """The files of the checkpoint and of the base."""
        return [*self._moment.files, *self.source.files]


def with_base(opened: Checkpoint) -> Checkpoint:
    """A checkpoint that holds only what learns, together with its base; all others as they are.

    Raises:
        CheckpointError: The base was quantized, is not there, or is not the one that the run was trained on.
        FormatError: The base is not a model that Puna reads.
    """
    if not isinstance(opened, MomentCheckpoint) or not opened.missing:
        return opened
    state, _ = read_header(opened.path)
    if (tuning := _tuning(opened.path, state)) is None:
        return opened
    run, updates = run_of(opened.path), [name for name in opened.extra if is_update(name)]
    go_on = f"finish the run, `puna finetune {run} --resume`, which leaves"
    if tuning.base != "as-it-is":
        raise CheckpointError(
            f"{opened.path}: holds an adapter on a base of {tuning.base}, which is not merged into a model",
            hint=f"{go_on} the adapter, and `puna chat {run}` then loads both",
        )
    place = base_place(run, state)
    base, weights = _opened(opened.path, place, f"put it there; or {go_on} the model, if it can be read then")
    if weights != state.initial_weights:
        raise CheckpointError(
            f"{place}: is not the model that {opened.path} was trained on, its hash is another",
            hint="what does not learn is in no checkpoint: put the model back",
        )
    adapter = Adapter(
        updates=_updates({name: opened.tensor(name) for name in updates}, tuning.lora),
        whole={name: opened.tensor(name) for name in opened.stored},
    )
    rounded = tuning.method == "lora" and state.recipe["train"].get("precision") == "bf16"
    return TunedMoment(opened, base, adapter, rounded=rounded)


def _tuning(path: Path, state: TrainState) -> FinetuneConfig | None:
    """The section [finetune] of a checkpoint's recipe, where a part of the weights does not learn."""
    try:
        tuning = FinetuneConfig.model_validate(state.recipe["finetune"]) if "finetune" in state.recipe else None
    except ValidationError as error:
        raise CheckpointError(f"{path / 'state.json'}: finetune: {error.errors()[0]['msg']}") from None
    return tuning if tuning is not None and (tuning.method == "lora" or tuning.freeze) else None


def _opened(path: Path, place: str, hint: str) -> tuple[Checkpoint, str]:
    """A base, and the hash of its weights as `puna.train.initial` computes it."""
    moment = find_moment(place)
    if moment is not None:
        directory = moment.directory
    elif (name := hub_name(place)) is not None:
        directory = fetch(name)
    else:
        directory = RunDir(Path(place)).model if RunDir(Path(place)).has_model else snapshot_of(Path(place))
    if not directory.exists():
        raise CheckpointError(f"{path}: holds only what learns, and its base {place!r} is not there", hint=hint)
    base = with_base(format_of(directory).open(directory, Hints()))
    base.check_complete()
    if (directory / CONFIG).is_file():
        check_files(directory)
    else:
        base.verify()
    return base, base.weights_sha256 or sha256_json({file.name: sha256_file(file) for file in base.files})


def _updates(tensors: Mapping[str, Tensor], config: LoraConfig) -> dict[str, LowRank]:
    """The updates by their layers' names, from parameters called `layers.0.attention.wq.update.a`."""
    found: dict[str, LowRank] = {}
    for name in sorted(tensors):
        layer, _, role = name.partition(f".{UPDATE}.")
        if role == "a":
            magnitude_O = tensors.get(f"{layer}.{UPDATE}.magnitude")
            b_OR = tensors[f"{layer}.{UPDATE}.b"]
            found[layer] = LowRank(a_RI=tensors[name], b_OR=b_OR, scale=scale_of(config), magnitude_O=magnitude_O)
    return found
