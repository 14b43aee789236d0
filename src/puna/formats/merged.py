"""A model with an adapter merged into it, tensor by tensor as it is read."""

from pathlib import Path

from torch import Tensor

from puna.core.errors import FormatError
from puna.core.layout import RunDir
from puna.core.reference import find_moment
from puna.core.user_path import user_path
from puna.formats.adapted import AdaptedCheckpoint
from puna.formats.cache import snapshot_of
from puna.formats.checkpoint import Checkpoint, Hints, Stored
from puna.formats.containers.dtypes import FLOATS
from puna.formats.peft.base import warn_of_another_base
from puna.formats.peft.read import read_adapter
from puna.formats.registry import format_of
from puna.formats.tuned_moment import with_base
from puna.model.adapter import Adapter
from puna.ops.quantized import Blocks
from puna.tokenizer.chat_template import read_chat_template
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer


class MergedCheckpoint(AdaptedCheckpoint):
    """A checkpoint whose updated weights are those of the merged model, in float32.

    Args:
        source: The base.
        adapter: What changes it.
        directory: Where the adapter lies; its tokenizer and chat template come before the base's.

    Raises:
        CheckpointError: The adapter is of another decoder.
        FormatError: Likewise; the base lacks a weight, as what a run with updates has saved does; or a weight that the
            adapter updates is quantized: the update would be added to what rounding has left.
    """

    def __init__(self, source: Checkpoint, adapter: Adapter, directory: Path) -> None:
        source.check_complete()
        super().__init__(source, adapter, directory)
        adapter.check(self.config, str(directory))
        self.path, self._updates = directory, adapter.updates
        merged = {}
        for name in (f"{layer}.weight" for layer in adapter.updates):
            if (dtype := source.stored[name].dtype) not in FLOATS:
                raise FormatError(
                    f"{source.path}: {name} is {dtype}; an adapter is not merged into a quantized model, which is not "
                    "the one that it was trained on",
                    hint="name the original as --base, or load both: --adapter",
                )
            merged[name] = Stored("float32", 4 * self.weights[name].numel)
        self.stored = {**self.stored, **merged}
        self.chat_template = read_chat_template(directory) or source.chat_template

    def tensor(self, name: str) -> Tensor:
        """One parameter, merged where the adapter changes it.

        Raises:
            FormatError: The base is damaged.
        """
        exact, update = super().tensor(name), self._updates.get(name.removesuffix(".weight"))
        return exact if update is None else update.merged(exact)

    def blocks(self, name: str) -> Blocks | None:
        """A quantized parameter of the base that the adapter leaves as it is."""
        return None if name.removesuffix(".weight") in self._updates else super().blocks(name)

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer beside the adapter, which may have new tokens; the base's where there is none."""
        return self.source.tokenizer() if find_tokenizer(self.directory) is None else load_tokenizer(self.directory)

    @property
    def files(self) -> list[Path]:
        """The files of the base and of the adapter."""
        return [*self.source.files, *sorted(file for file in self.directory.iterdir() if file.is_file())]


def open_merged(path: Path, base: Path | None, hints: Hints) -> MergedCheckpoint:
    """The model that an adapter makes of its base, its weights not yet read.

    Args:
        path: The adapter's directory.
        base: The model, in any format, or a run; None takes the one that the adapter names.
        hints: What the base's files do not state.

    Raises:
        FormatError: One of them is damaged, the base is not known or not there, or it is quantized.
        CheckpointError: The adapter is of another decoder.
    """
    adapter = read_adapter(path)
    place = _named_base(path, adapter.base) if base is None else base
    place = RunDir(place).model if RunDir(place).has_model else snapshot_of(place)
    source = with_base(format_of(place).open(place, hints))
    merged = MergedCheckpoint(source, adapter, path)
    warn_of_another_base(adapter, source, str(path))
    return merged


def _named_base(path: Path, named: str) -> Path:
    """Where the model lies that an adapter names: a path, or a moment of a run."""
    hint = "`puna import ADAPTER --base MODEL` makes a model of both"
    if not named:
        raise FormatError(f"{path}: does not say which model it was trained on", hint=hint)
    place = user_path(named)
    if (moment := find_moment(place)) is not None:
        return moment.directory
    if not place.exists():
        raise FormatError(f"{path}: was trained on {named!r:.200}, which is not there", hint=hint)
    return place
