"""The share of a recipe's model and tokens that each device has, in numbers of elements; no torch."""

import math
from dataclasses import dataclass

from puna.config.recipe import DEFAULT_LOSS_CHUNK, Recipe
from puna.plan.batch import check_batch, resolved_shard
from puna.plan.count import matrices, parameters

CPU, GPU = "cpu", "gpu"


FACTORED_FROM = 128
"""Rows and columns from which on `puna.train.adafactor` keeps two vectors for a matrix."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """One device's part. All devices hold equal amounts, up to rounding."""

    recipe: Recipe
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
    def block(self) -> int:
        """Elements of one block's parameters in this device's part of a tensor-parallel group."""
        return self.block_matrices + self.norms

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

        Forward and backward, but only once for the last block, with which the backward pass begins.
        """
        layers = self.recipe.model.n_layers
        return layers if self.alone else 2 * layers - 1

    @property
    def matrices_held(self) -> int:
        """Elements of the blocks' matrices whose weights and optimizer state are on this device."""
        return math.ceil(self.recipe.model.n_layers * self.block_matrices / self.weight_devices)

    @property
    def held(self) -> int:
        """Elements of all parameters whose weights and optimizer state are on this device."""
        total = self.recipe.model.n_layers * self.block + self.ends
        return math.ceil(total / self.weight_devices)

    @property
    def optimizer_state(self) -> int:
        """Bytes of the optimizer's state on this device: two moments, or one for Muon's matrices, or vectors."""
        if self.recipe.optim.name == "muon":
            return 4 * self.matrices_held + 8 * (self.held - self.matrices_held)
        if self.recipe.optim.name == "adafactor":
            return 4 * self._adafactor_numbers
        return 2 * self.weight_bytes * self.held

    @property
    def _adafactor_numbers(self) -> int:
        """A number for each row that this device has and for each column; one each of what has no such vectors."""
        shapes = matrices(self.recipe.model)
        factored = [shape for shape in shapes if min(shape) >= FACTORED_FROM]
        whole = sum(rows * columns for rows, columns in shapes if (rows, columns) not in factored)
        gains = parameters(self.recipe.model).norms
        numbers = sum(math.ceil(rows / self.weight_devices) + columns for rows, columns in factored)
        return numbers + math.ceil((whole / self.tensor + gains) / self.weight_devices)

    @property
    def state(self) -> int:
        """Bytes of this device's part of a checkpoint."""
        return self.weight_bytes * self.held + self.optimizer_state


def share_of(recipe: Recipe, devices: int, kind: str) -> Share:
    """The share of each device of this number of devices.

    Raises:
        TrainError: The recipe's layout has another number of devices, or its batch cannot be shared by them.
    """
    layout = recipe.parallel
    shard = resolved_shard(layout, devices)
    check_batch(recipe, devices)
    return Share(
        recipe=recipe, kind=kind, devices=devices, replicate=layout.replicate, shard=shard, context=layout.context,
        tensor=layout.tensor,
    )  # fmt: skip
