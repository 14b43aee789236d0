"""A model with the parameters of an adapter that were trained whole, such as embeddings with new tokens, in place."""

from pathlib import Path

from torch import Tensor

from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, DelegatingCheckpoint, Stored, model_config
from puna.formats.table import Weight, weights
from puna.model.adapter import Adapter
from puna.ops.bits import same_bits
from puna.ops.quantized import Blocks

_EMBEDDING, _OUTPUT = "tok_embeddings.weight", "output.weight"


class AdaptedCheckpoint(DelegatingCheckpoint):
    """A checkpoint with some parameters of an adapter's; the low-rank updates are left to whoever computes.

    Args:
        source: The model that the adapter was trained on.
        adapter: Its whole parameters count here.
        directory: Where the adapter lies.

    Raises:
        FormatError: A whole parameter is not one of the model's, or has another shape.
    """

    def __init__(self, source: Checkpoint, adapter: Adapter, directory: Path) -> None:
        super().__init__(source)
        self.directory = directory
        self._whole = _tied(adapter.whole) if source.config.tie_embeddings else adapter.whole
        values = source.config.model_dump()
        if (embedding_VD := self._whole.get(_EMBEDDING)) is not None:
            values["vocab_size"] = len(embedding_VD)
        if _OUTPUT in self._whole:
            values["tie_embeddings"] = False
        self.config = model_config(source.path, values)
        self.weights: dict[str, Weight] = {weight.name: weight for weight in weights(self.config)}
        for parameter, weight in self.weights.items():
            found = tuple(self._whole[parameter].shape if parameter in self._whole else self._stored_shape(parameter))
            if found != tuple(weight.shape):
                raise FormatError(
                    f"{directory}: with it {parameter} is {list(found)}, but the model needs {list(weight.shape)}"
                )
        if other := self._whole.keys() - self.weights.keys():
            raise FormatError(f"{directory}: has {min(other)}, which the model does not have")
        own = {
            parameter: Stored(str(tensor.dtype).removeprefix("torch."), tensor.nbytes)
            for parameter, tensor in self._whole.items()
        }
        self.stored = {**{name: stored for name, stored in source.stored.items() if name in self.weights}, **own}

    def tensor(self, name: str) -> Tensor:
        """The adapter's parameter, or the source's."""
        return self._whole[name] if name in self._whole else self.source.tensor(name)

    def blocks(self, name: str) -> Blocks | None:
        """The source's quantized parameter, where the adapter has none."""
        return None if name in self._whole else self.source.blocks(name)

    def _stored_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.source.weights[name].shape) if name in self.source.weights else ()


def _tied(whole: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters without an output layer that is the embedding, bit for bit: it need not be kept twice."""
    if {_EMBEDDING, _OUTPUT} <= whole.keys() and same_bits(whole[_EMBEDDING], whole[_OUTPUT]):
        return {name: tensor for name, tensor in whole.items() if name != _OUTPUT}
    return whole
