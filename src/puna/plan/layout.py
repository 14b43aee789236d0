"""The share of a recipe's model and tokens that each device has, in numbers of elements; no torch."""

import math
from dataclasses import dataclass
from functools import cached_property

from puna.config.recipe import DEFAULT_LOSS_CHUNK, Recipe
from puna.plan.batch import check_batch, resolved_shard
from puna.plan.count import PartWork, backward_work, flops_per_token, parameters
from puna.plan.learning import BY_INPUTS, Layer, Learning, layers_of, learning_of

CPU, GPU = "cpu", "gpu"


FACTORED_FROM = 128
"""Rows and columns from which on `puna.train.adafactor` keeps two vectors for a matrix."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """One device's part. All devices hold equal amounts, up to rounding."""

    recipe: Recipe
    learning: Learning
    """What of the recipe's model learns."""
    kind: str
    """Kind of device: `cpu` or `gpu`."""
    devices: int
    replicate: int
    shard: int
    context: int
    tensor: int

    @property
    def weight_devices(self) -> int:
        """Devices over which a weight is sharded; those of a context group take part."""
        return self.shard * self.context

    @property
    def grouped(self) -> bool:
        """Whether sharding takes part: where there are several devices."""
        return self.devices > 1

    @property
    def alone(self) -> bool:
        """Whether no weight is sharded over devices: then the cast weights stay from the first pass to the step."""
        return self.replicate * self.weight_devices == 1

    @property
    def copied(self) -> bool:
        """Whether a single device keeps bfloat16 copies of all its weights for the passes of a step.

        `puna.parallel.working` makes them once per step. The loss casts the output layer's own weight in every pass
        nevertheless, so that its gradient comes in float32.
        """
        return self.devices == 1 and self.recipe.train.precision == "bf16"

    @property
    def passes(self) -> int:
        """Forward and backward passes of each device per optimizer step."""
        train = self.recipe.train
        return max(1, train.batch_tokens // (train.micro_batch_tokens * self.replicate * self.shard))

    @property
    def tokens(self) -> int:
        """Tokens of a pass on this device."""
        return self.recipe.train.micro_batch_tokens // self.context

    @property
    def loss_chunk(self) -> int:
        """Tokens whose logits exist at one time; all chunks of a pass are equally long."""
        most = self.recipe.train.loss_chunk_tokens or DEFAULT_LOSS_CHUNK[self.kind]
        return math.ceil(self.tokens / math.ceil(self.tokens / most))

    @property
    def loss_chunks(self) -> int:
        """Chunks of the loss in a pass."""
        return math.ceil(self.tokens / self.loss_chunk)

    @property
    def fused_loss(self) -> bool:
        """Whether one kernel makes the logits' gradient: on a GPU that has the whole vocabulary."""
        return self.kind != CPU and self.tensor == 1

    @property
    def compiled_norm(self) -> bool:
        """Whether the model's last norm is compiled as its blocks are (`puna.parallel.apply`)."""
        return self.fused_loss and self.recipe.train.compile

    @property
    def compiled_update(self) -> bool:
        """Whether steps of an optimizer that PyTorch has no kernel for are compiled."""
        return self.kind != CPU and self.recipe.train.compile

    @property
    def vocabulary(self) -> int:
        """Rows of the output layer in this device's part of a tensor-parallel group."""
        return math.ceil(self.recipe.model.vocab_size / self.tensor)

    @property
    def matrix_bytes(self) -> int:
        """Bytes of one number in the passes' matrix products."""
        return 4 if self.recipe.train.precision == "fp32" else 2

    @property
    def weight_bytes(self) -> int:
        """Bytes of one number of the weights that the optimizer moves."""
        return 2 if self.recipe.train.precision == "bf16-stochastic" else 4

    @property
    def norms(self) -> int:
        """Gains and biases of one block; every device of a tensor-parallel group has all of them."""
        return (parameters(self.recipe.model).norms - self.last_norm) // self.recipe.model.n_layers

    @property
    def last_norm(self) -> int:
        """Gains and biases of the last norm."""
        return self.recipe.model.dim * (2 if self.recipe.model.norm == "layer-bias" else 1)

    @property
    def block_matrices(self) -> int:
        """Elements of one block's matrices in this device's part of a tensor-parallel group."""
        counts = parameters(self.recipe.model)
        return math.ceil((counts.attention + counts.feed_forward) / self.recipe.model.n_layers / self.tensor)

    @property
    def frozen_matrices(self) -> int:
        """Elements of a block's matrices that updates learn beside, which are in the dtype of the passes."""
        tuned = self.learning.lora is not None and self.learning.base == "as-it-is"
        return self.block_matrices if tuned else 0

    @property
    def packed_bytes(self) -> int:
        """Bytes of a block's matrices as integers, which every device has whole; 0 where they are floats."""
        return sum(self.learning.packed_bytes(layer) for layer in layers_of(self.recipe.model))

    @cached_property
    def blocks(self) -> int:
        """Elements of all blocks' parameters in this device's part of a tensor-parallel group, low-rank updates too."""
        matrices = 0 if self.packed_bytes else self.block_matrices
        return self.recipe.model.n_layers * (matrices + self.norms) + self._updates

    @property
    def block(self) -> int:
        """The same of one block, on average."""
        return math.ceil(self.blocks / self.recipe.model.n_layers)

    @cached_property
    def _updates(self) -> int:
        """Elements of all low-rank updates in this device's part of a tensor-parallel group."""
        return sum(self.update_elements(layer) for _, layer in self.learning.updates())

    def update_elements(self, layer: Layer) -> int:
        """Elements of a layer's update: A is split where the layer's inputs are, the rest where its outputs are."""
        by_inputs = layer.name in BY_INPUTS
        sizes = {name: math.prod(shape) for name, shape in self.learning.update(layer).items()}
        return sum(size // (self.tensor if (name == "a") == by_inputs else 1) for name, size in sizes.items())

    @cached_property
    def work(self) -> list[PartWork]:
        """FLOPs per token of each block, and last of the output layer, on this device."""
        return backward_work(self.recipe.model, self.learning, self.tensor)

    @property
    def flops_per_token(self) -> dict[str, float]:
        """FLOPs of the model for a token, by convention."""
        return flops_per_token(self.recipe.model, self.recipe.model.context, self.learning)

    @property
    def reached(self) -> int:
        """Blocks that the backward pass goes through."""
        return sum(block.reached for block in self.work[:-1])

    @property
    def ends(self) -> int:
        """Elements of embedding, last norm and output layer in this device's part of a tensor-parallel group."""
        config = self.recipe.model
        return (1 if config.tie_embeddings else 2) * self.vocabulary * config.dim + self.last_norm

    @property
    def end_groups(self) -> list[int]:
        """The same for each message of sharding: an untied embedding, and the output layer with the last norm."""
        embedding = 0 if self.recipe.model.tie_embeddings else self.vocabulary * self.recipe.model.dim
        return [size for size in (embedding, self.ends - embedding) if size]

    @property
    def block_gathers(self) -> int:
        """How often the weights of a block are gathered in a pass, summed over all blocks.

        Forward, and backward where the pass gets there, but only once for the last block, with which it begins. FSDP
        gathers one block more before the backward pass ends, if there is one.
        """
        layers, reached = self.recipe.model.n_layers, self.reached
        return layers if self.alone or not reached else layers + reached - (reached == layers)

    @property
    def matrices_held(self) -> int:
        """Elements of the blocks' matrices that learn, whose optimizer state is on this device."""
        learned = self.recipe.model.n_layers * self.block_matrices
        if not self.learning.everything:
            learned = sum(
                self._elements(name, shape)
                for name, shape in self.learning.shapes.items()
                if "layers." in name and len(shape) == 2
            )
        return math.ceil(learned / self.weight_devices)

    @property
    def held(self) -> int:
        """Elements of all parameters on this device, those of matrices of integers aside."""
        return math.ceil((self.blocks + self.ends) / self.weight_devices)

    @property
    def learned_held(self) -> int:
        """Elements of what learns whose gradients and optimizer state are on this device."""
        return math.ceil((self.learned_blocks + sum(self.learned_end_groups)) / self.weight_devices)

    @cached_property
    def learned_blocks(self) -> int:
        """Elements of all blocks that learn, in this device's part of a tensor-parallel group."""
        if self.learning.everything:
            return self.blocks
        return sum(
            self._elements(name, shape) for name, shape in self.learning.shapes.items() if name.startswith("layers.")
        )

    @property
    def learned_end_groups(self) -> list[int]:
        """What learns of embedding, last norm and output layer, for each message of sharding that there is."""
        if self.learning.everything:
            return self.end_groups
        groups: dict[bool, int] = {}
        for name, shape in self.learning.shapes.items():
            if not name.startswith("layers."):
                own = name.startswith("tok_embeddings.") and not self.recipe.model.tie_embeddings
                groups[own] = groups.get(own, 0) + self._elements(name, shape)
        return list(groups.values())

    @property
    def learned_gains(self) -> tuple[int, int]:
        """Gains and biases that learn: of all blocks, and of the last norm."""
        gains = {name: shape[0] for name, shape in self.learning.shapes.items() if len(shape) == 1}
        ends = sum(size for name, size in gains.items() if name.startswith("norm."))
        return sum(size for name, size in gains.items() if ".update." not in name) - ends, ends

    @property
    def largest_learned(self) -> int:
        """Elements of the largest matrix of a block that learns, in this device's part of a tensor-parallel group."""
        if self.learning.everything:
            return max(layer.size for layer in layers_of(self.recipe.model)) // self.tensor
        found = self.learning.shapes.items()
        return max((self._elements(name, shape) for name, shape in found if name.startswith("layers.")), default=0)

    def _elements(self, name: str, shape: tuple[int, ...]) -> int:
        """Elements of something that learns, in this device's part of a tensor-parallel group."""
        layer, _, part = name.partition(".update.")
        by_inputs = layer.removesuffix(".weight").rpartition(".")[2] in BY_INPUTS
        split = (part == "a") == by_inputs if part else len(shape) == 2
        if split and name.startswith(("tok_embeddings.", "output.")):
            return self.vocabulary * shape[1]
        return math.prod(shape) // (self.tensor if split else 1)

    @property
    def frozen_held(self) -> int:
        """Elements of frozen matrices on this device that are kept in the dtype of the passes."""
        return math.ceil(self.recipe.model.n_layers * self.frozen_matrices / self.weight_devices)

    @property
    def frozen_bytes(self) -> int:
        """Bytes of the weights on this device that do not learn, matrices of integers aside."""
        others = self.held - self.frozen_held - self.learned_held
        return self.matrix_bytes * self.frozen_held + self.weight_bytes * others

    @property
    def copied_elements(self) -> int:
        """Elements of which `puna.parallel.working` makes copies: what is float32, magnitudes of updates aside."""
        magnitudes = sum(self.learning.update(layer).get("magnitude", (0,))[0] for _, layer in self.learning.updates())
        return self.held - self.frozen_held - magnitudes

    @property
    def optimizer_state(self) -> int:
        """Bytes of the optimizer's state on this device: two moments, or one for Muon's matrices, or vectors."""
        if self.recipe.optim.name == "muon":
            return 4 * self.matrices_held + 8 * (self.learned_held - self.matrices_held)
        if self.recipe.optim.name == "adafactor":
            return 4 * self._adafactor_numbers
        return 2 * self.weight_bytes * self.learned_held

    @property
    def _adafactor_numbers(self) -> int:
        """A number for each row that this device has and for each column; one each of what has no such vectors."""
        shapes = self.learning.shapes
        factored = {name: shape for name, shape in shapes.items() if len(shape) == 2 and min(shape) >= FACTORED_FROM}
        whole = sum(self._elements(name, shape) for name, shape in shapes.items() if name not in factored)
        numbers = sum(math.ceil(rows / self.weight_devices) + columns for rows, columns in factored.values())
        return numbers + math.ceil(whole / self.weight_devices)

    @property
    def state(self) -> int:
        """Bytes of this device's part of a checkpoint, which has what learns."""
        return self.weight_bytes * self.learned_held + self.optimizer_state


def share_of(recipe: Recipe, devices: int, kind: str, *, tokens_learn: bool = False) -> Share:
    """The share of each device of this number of devices.

    Args:
        recipe: With the shape of its model.
        devices: How many there are.
        kind: `cpu` or `gpu`.
        tokens_learn: As for `puna.plan.learning.learning_of`.

    Raises:
        TrainError: The recipe's layout has another number of devices, or its batch cannot be shared by them; or its
            method cannot work.
    """
    layout = recipe.parallel
    shard = resolved_shard(layout, devices)
    check_batch(recipe, devices)
    return Share(
        recipe=recipe, learning=learning_of(recipe, tokens_learn=tokens_learn), kind=kind, devices=devices,
        replicate=layout.replicate, shard=shard, context=layout.context, tensor=layout.tensor,
    )  # fmt: skip
