"""The layout of a recipe, applied to the decoder from outside, in the one order in which the parts fit together.

1. The model is described on the meta device: no memory, whatever its size.
2. Tensor parallelism splits the matrices, context parallelism the sequences; or products run in float8.
3. What does not learn is frozen, and low-rank updates are put beside it, split as the matrices are.
4. Recomputation goes around each block, compilation around that.
5. FSDP shards what each device has left (ZeRO-3), over all devices that hold the same; its hooks stay outside of the
   compiled code, and it casts weights to the precision of the passes.
6. Every device makes the memory of its own shards and draws its own part of the initial weights.

A process that is alone has nothing to shard; `puna.parallel.working` then makes what its passes compute with.
"""

import torch
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from puna.config.recipe import Recipe
from puna.model import lora
from puna.model.frozen import freeze
from puna.model.init import DrawnWeights, init_weights
from puna.model.llama import Llama
from puna.parallel.context import apply_context_parallel
from puna.parallel.float8 import apply_float8, check_float8
from puna.parallel.mesh import Mesh
from puna.parallel.recompute import apply_recompute
from puna.parallel.tensor import apply_tensor_parallel
from puna.plan.learning import check_method


def build_model(recipe: Recipe, mesh: Mesh, device: torch.device, *, drawn: bool = True) -> Llama:
    """The recipe's decoder in its layout; each device holds its own part only.

    Args:
        recipe: Its model, and how it is trained.
        mesh: The layout.
        device: Where this process computes.
        drawn: Whether to draw the initial weights; otherwise they are uninitialised.

    Raises:
        TrainError: The settings cannot work together.
    """
    check_method(recipe)
    with torch.device("meta"):
        model = Llama(recipe.model)
        if recipe.train.precision == "bf16-stochastic":
            model.to(torch.bfloat16)
    if mesh.tensor_mesh is not None:
        apply_tensor_parallel(model, mesh.tensor_mesh)
    if mesh.context_mesh is not None:
        apply_context_parallel(model, mesh.context_mesh)
    if recipe.train.float8:
        check_float8(model, device)
        apply_float8(model)
    if recipe.finetune is not None:
        _choose_what_learns(model, recipe)
    apply_recompute(model, recipe.train.recompute, compile=recipe.train.compile, on_cpu=device.type == "cpu")
    if recipe.train.compile and mesh.tensor_mesh is None and device.type != "cpu":
        # Operator by operator it is twenty passes over the stream in float32; on a CPU that is little compared with the
        # rest.
        model.norm.forward = torch.compile(model.norm.forward)
    if mesh.fsdp_mesh is not None:
        _shard(model, mesh, recipe.train.precision)
    model.to_empty(device=device)
    if drawn:
        init_weights(model, recipe.seed)
        lora.start(model, recipe.seed, DrawnWeights(model.config, recipe.seed))
    return model


def set_last_pass(model: Llama, mesh: Mesh, last: bool) -> None:
    """Tell FSDP which pass is the last of a batch: after it, replicas add up their gradients."""
    if mesh.replicate > 1 and isinstance(model, FSDPModule):
        model.set_requires_all_reduce(last)


def reshard(model: Llama) -> None:
    """Free the weights that a pass without gradients has gathered, so that the parameters are the shards again."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _choose_what_learns(model: Llama, recipe: Recipe) -> None:
    """Freeze what the recipe says, and give the model the updates that it learns instead, if it does."""
    tuning, train = recipe.finetune, recipe.train
    if tuning is None or tuning.method == "full":
        freeze(model, [] if tuning is None else tuning.freeze)
        return
    lora.attach(model, tuning, frozen_dtype=torch.bfloat16 if train.precision == "bf16" else None)


def _shard(model: Llama, mesh: Mesh, precision: str) -> None:
    # Inputs stay as they are: the angles of rotary positions are float32 in every precision.
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if precision == "bf16" else None,
        reduce_dtype=None if precision == "fp32" else torch.float32,
        cast_forward_inputs=False,
    )
    # A single device gathers from no other: it casts a block once per pass instead of twice.
    alone = mesh.fsdp_mesh is not None and mesh.fsdp_mesh.size() == 1
    # The backward pass begins with the last block, which would be gathered again at once.
    last = len(model.layers) - 1
    for number, block in enumerate(model.layers):
        fully_shard(block, mesh=mesh.fsdp_mesh, mp_policy=policy, reshard_after_forward=not alone and number < last)
    if model.tok_embeddings.weight is not model.output.weight:
        # A message of its own, so that the float32 one of the output layer's gradient is gone before it is made.
        fully_shard(model.tok_embeddings, mesh=mesh.fsdp_mesh, mp_policy=policy, reshard_after_forward=False)
    fully_shard(model, mesh=mesh.fsdp_mesh, mp_policy=policy, reshard_after_forward=False)
    register_fsdp_forward_method(model, "hidden")
