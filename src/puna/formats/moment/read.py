"""The model that a run was at one step, read in place from its checkpoint, one tensor at a time."""

import math
import os
from pathlib import Path

from torch import Tensor

from puna.core.errors import CheckpointError
from puna.core.files import sha256_json
from puna.core.hub_name import hub_name
from puna.core.layout import RunDir
from puna.core.reference import run_of
from puna.core.schema.train_state import TrainState
from puna.formats.checkpoint import Checkpoint, Hints, Stored, check_shape
from puna.formats.table import weights
from puna.model.checkpoint_files import check_weights
from puna.model.checkpoint_weights import CheckpointWeights
from puna.tokenizer.chat_template import read_chat_template
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer


class MomentCheckpoint(Checkpoint):
    """A checkpoint of a run, opened; its hashes are not checked (`verify` does).

    Args:
        path: The directory of the checkpoint.

    Raises:
        CheckpointError: A file is missing or damaged, or the run has removed the checkpoint.
        FormatError: A weight has another shape than the recipe makes it.
    """

    format = "puna-checkpoint"

    def __init__(self, path: Path) -> None:
        self._weights = CheckpointWeights(path)
        config = self._weights.config
        shapes = {weight.name: weight.shape for weight in weights(config)}
        stored = {}
        for name in self._weights.names:
            shape, dtype = self._weights.shape(name), self._weights.dtype(name)
            if name in shapes:
                check_shape(path, name, shape, shapes[name])
            stored[name] = Stored(str(dtype).removeprefix("torch."), math.prod(shape) * dtype.itemsize)
        extra = [name for name in stored if name not in shapes]
        super().__init__(path, config, {name: stored[name] for name in shapes if name in stored}, extra=extra)
        self.step = self._weights.state.step
        self.chat_template = read_chat_template(run_of(path).tokenizer)
        tuning = self._weights.state.recipe.get("finetune")
        if self.missing and isinstance(tuning, dict) and (tuning.get("method") == "lora" or tuning.get("freeze")):
            self.base = base_place(run_of(path), self._weights.state)

    def tensor(self, name: str) -> Tensor:
        """One parameter; of a run of one process a view of the mapped file."""
        return self._weights.tensor(name)

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer beside the checkpoint, or in the directory of its run.

        Raises:
            CheckpointError: It is not the one that the run was trained with.
        """
        run = run_of(self.path)
        homes = (self.path, run.tokenizer, run.model)
        file = next((found for home in homes if (found := find_tokenizer(home)) is not None), None)
        if file is None:
            self.notes.append(
                "the run has no tokenizer beside it, as an older version of Puna began it: name that of its data with "
                "--tokenizer, such as data/NAME/tokenizer"
            )
            return None
        tokenizer = load_tokenizer(file)
        if (expected := self._weights.state.tokenizer) and tokenizer.sha256 != expected:
            raise CheckpointError(
                f"{file}: is not the tokenizer of this run, its SHA-256 is not the one in {self.path / 'state.json'}",
                hint="name that of the run's data with --tokenizer, such as data/NAME/tokenizer",
            )
        return tokenizer

    def verify(self) -> None:
        """Compare the files that hold weights with their hashes.

        Raises:
            CheckpointError: One is damaged, or the run has removed the checkpoint.
        """
        check_weights(self.path)

    @property
    def weights_sha256(self) -> str:
        """That of the hashes in its state."""
        return sha256_json(self._weights.hashes)

    @property
    def files(self) -> list[Path]:
        """The description, and the files that hold weights."""
        return [self.path / "state.json", *self._weights.files]


def base_place(run: RunDir, state: TrainState) -> str:
    """The model that a run began with: its path from here, or its name on the hub."""
    place = str(state.recipe["train"].get("init_from") or "")
    if hub_name(place, run.root) is not None or os.path.isabs(place) or place.startswith("~"):
        return os.path.expanduser(place)
    return os.path.normpath(os.path.join(run.root, place))


def open_moment(path: Path, hints: Hints) -> MomentCheckpoint:
    """A checkpoint of a run, which needs no hints.

    Raises:
        CheckpointError: A file is missing or damaged, or the run has removed the checkpoint.
        FormatError: A hint differs from the run's recipe, or a weight from its shape.
    """
    opened = MomentCheckpoint(path)
    hints.refuse_other_values(path, opened.config)
    return opened
