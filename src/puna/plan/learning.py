"""Which weights of a recipe's model learn, and the low-rank updates beside those that do not; no torch.

Names and shapes are those of `puna.model.llama` and `puna.model.lora`, against which the tests hold them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from puna.config.finetune import LoraConfig, frozen_names
from puna.config.recipe import ModelConfig, Recipe
from puna.core.errors import TrainError

BY_INPUTS = ("wo", "w2")
"""Layers whose inputs tensor parallelism splits; it splits the outputs of the others."""
BY_TOKEN = ("tok_embeddings.weight", "output.weight")
"""Weights with a row for each token."""
_GROUP = 32
"""Inputs of a matrix of integers that share a scale (`puna.ops.quantized`)."""


@dataclass(frozen=True)
class Layer:
    """A linear layer of every block."""

    half: str
    """`attention` or `feed_forward`."""
    name: str
    """As Meta names it, such as `wq`."""
    inputs: int
    outputs: int

    def in_block(self, number: int) -> str:
        """The name of the layer in a block."""
        return f"layers.{number}.{self.half}.{self.name}"

    @property
    def size(self) -> int:
        """Elements of its matrix."""
        return self.inputs * self.outputs


def layers_of(config: ModelConfig) -> list[Layer]:
    """The linear layers of a block in their order."""
    dim, ffn, queries, keys = (
        config.dim, config.ffn_dim, config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim,
    )  # fmt: skip
    attention = [("wq", dim, queries), ("wk", dim, keys), ("wv", dim, keys), ("wo", queries, dim)]
    feed_forward = [("w1", dim, ffn), ("w2", ffn, dim), ("w3", dim, ffn)]
    return [Layer("attention", *each) for each in attention] + [Layer("feed_forward", *each) for each in feed_forward]


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of the decoder by its name; an output layer that is the embedding has none."""
    parts = ("weight", "bias") if config.norm == "layer-bias" else ("weight",)
    table = (config.vocab_size, config.dim)
    found: dict[str, tuple[int, ...]] = {"tok_embeddings.weight": table}
    layers = layers_of(config)
    norms = {"attention_norm": config.dim, "ffn_norm": config.dim}
    if config.qk_norm:
        norms |= {"attention.q_norm": layers[0].outputs, "attention.k_norm": layers[1].outputs}
    for number in range(config.n_layers):
        found |= {f"{layer.in_block(number)}.weight": (layer.outputs, layer.inputs) for layer in layers}
        found |= {f"layers.{number}.{norm}.{part}": (width,) for norm, width in norms.items() for part in parts}
    found |= {f"norm.{part}": (config.dim,) for part in parts}
    return found if config.tie_embeddings else found | {"output.weight": table}


@dataclass(frozen=True)
class Learning:
    """What learns in a model."""

    config: ModelConfig
    whole: frozenset[str]
    """Names of the weights that learn."""
    updated: frozenset[str] = frozenset()
    """Names of the layers with a low-rank update, such as `layers.0.attention.wq`."""
    lora: LoraConfig | None = None
    """The form of the updates; None where there are none."""
    base: str = "as-it-is"
    """How the matrices beside the updates are kept: `as-it-is`, `int8` or `int4`."""

    def update(self, layer: Layer) -> dict[str, tuple[int, ...]]:
        """Shapes of a layer's update by the names of its parts, whether the layer has one or not."""
        if self.lora is None:
            return {}
        found: dict[str, tuple[int, ...]] = {
            "a": (self.lora.rank, layer.inputs), "b": (layer.outputs, self.lora.rank),
        }  # fmt: skip
        return found | ({"magnitude": (layer.outputs,)} if self.lora.dora else {})

    def updates(self) -> Iterator[tuple[int, Layer]]:
        """The updates of all blocks: the number of the block, and the layer."""
        for number in range(self.config.n_layers):
            for layer in layers_of(self.config):
                if layer.in_block(number) in self.updated:
                    yield number, layer

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of everything that learns, by its name."""
        found = {name: shape for name, shape in shapes(self.config).items() if name in self.whole}
        for number, layer in self.updates():
            for part, shape in self.update(layer).items():
                found[f"{layer.in_block(number)}.update.{part}"] = shape
        return found

    @property
    def size(self) -> int:
        """How many numbers learn."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @cached_property
    def everything(self) -> bool:
        """Whether all weights learn, as in pre-training."""
        return len(self.whole) == len(shapes(self.config))

    @property
    def output(self) -> bool:
        """Whether the weight of the output layer learns."""
        return BY_TOKEN[0 if self.config.tie_embeddings else 1] in self.whole

    @property
    def embedding(self) -> bool:
        """Whether the embedding learns."""
        return BY_TOKEN[0] in self.whole

    def packed_bytes(self, layer: Layer) -> int:
        """Bytes of a layer's matrix as integers with their scales; 0 where it is not kept so."""
        if self.base == "as-it-is":
            return 0
        row = layer.inputs if self.base == "int8" else (layer.inputs + 1) // 2
        return layer.outputs * (row + 2 * -(-layer.inputs // _GROUP))


def learning_of(recipe: Recipe, *, tokens_learn: bool = False) -> Learning:
    """What learns in a recipe's model.

    Args:
        recipe: With the shape of its model.
        tokens_learn: Whether the weights with a row for each token learn beside updates, as they do where the chat
            template has tokens that are new to the model.

    Raises:
        TrainError: A pattern of what is frozen names nothing or all, or the method does not go with the layout.
    """
    names, tuning = shapes(recipe.model), recipe.finetune
    if tuning is None:
        return Learning(recipe.model, frozenset(names))
    check_method(recipe)
    frozen = frozen_names(names, tuning.freeze)
    if tuning.method == "full":
        return Learning(recipe.model, frozenset(names.keys() - frozen))
    updated = {
        layer.in_block(number)
        for number in range(recipe.model.n_layers)
        for layer in layers_of(recipe.model)
        if layer.name in tuning.lora.targets and f"{layer.in_block(number)}.weight" not in frozen
    }
    whole = names.keys() & {*BY_TOKEN} if tokens_learn else set[str]()
    return Learning(recipe.model, frozenset(whole), frozenset(updated), tuning.lora, tuning.base)


def check_method(recipe: Recipe) -> None:
    """Refuse low-rank updates where the precision or the layout leaves no way to compute them.

    Raises:
        TrainError: It names the settings.
    """
    tuning, tensor = recipe.finetune, recipe.parallel.tensor
    if tuning is None or tuning.method != "lora":
        return
    if recipe.train.float8:
        raise TrainError("train.float8 = true is for methods that move the matrices; leave it out with 'lora'")
    shared = "share the batch or the sequences instead: parallel.shard, parallel.context"
    if tuning.lora.dropout and tensor > 1:
        raise TrainError(
            f"finetune.lora.dropout = {tuning.lora.dropout:g}: inputs of A are not dropped where devices share a "
            f"matrix, parallel.tensor is {tensor}",
            hint=shared,
        )
    if tuning.base != "as-it-is" and tensor > 1:
        raise TrainError(
            f"finetune.base = {tuning.base!r}: a matrix of integers is not split over devices, parallel.tensor is "
            f"{tensor}",
            hint=shared,
        )
