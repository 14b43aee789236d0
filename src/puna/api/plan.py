"""What a run of a recipe will take: `puna.plan`."""

from typing import TYPE_CHECKING

from puna.api.planned_model import with_model
from puna.api.recipes import PathLike, as_recipe
from puna.core.errors import ConfigError

if TYPE_CHECKING:
    from puna.config.recipe import Recipe
    from puna.plan.plan import Plan


def plan(
    recipe: "Recipe | PathLike",
    *,
    model: PathLike | None = None,
    devices: int | None = None,
    device: str = "a100",
    devices_per_node: int | None = None,
    network_gbps: float | None = None,
    mfu: float | None = None,
) -> "Plan":
    """What a run of a recipe will take: memory, time, disk, energy and carbon. Nothing runs, and no torch is needed.

    Args:
        recipe: A recipe, its name or its path.
        model: Of a recipe with [finetune], what would be tuned: a run, a model in any format or on the hub, which is
            opened, but not read, and needs torch; or a recipe whose [model] is meant. None is the recipe's
            `train.init_from`.
        devices: How many; None takes as many as the recipe's layout asks for.
        device: A GPU such as `a100`, as in the paper, or `rtx-4090`; `cpu`, this machine's; or FLOP/s such as `4e14`.
        devices_per_node: GPUs of one machine; None is 8, as in NVIDIA's own machines.
        network_gbps: Gbit/s of each GPU to other machines; None is that of NVIDIA's own: 200 for A100, 400 for H100
            and H200.
        mfu: Model FLOPs over the peak rate, such as 0.4; None estimates it.

    Returns:
        The figures by name, such as `memory.peak.bytes`; `as_dict()` has them all.

    Raises:
        ConfigError: The recipe or an argument is wrong.
        TrainError: The layout has another number of devices, or they cannot share the batch; or it was not said which
            model is tuned.
        UserError: The model that would be tuned cannot be opened.
    """
    from puna.plan.plan import plan as make_plan
    from puna.plan.target import find_target

    if mfu is not None and not 0 < mfu <= 1:
        raise ConfigError([f"--mfu {mfu:g}: expected a share of the peak rate, above 0 and at most 1"])
    if network_gbps is not None and not 0 < network_gbps < float("inf"):
        raise ConfigError([f"--network-gbps {network_gbps:g}: expected Gbit/s above 0, such as 200"])
    if mfu is not None and (network_gbps is not None or devices_per_node is not None):
        raise ConfigError(["--mfu stands in for the estimate that --network-gbps and --devices-per-node are for"])
    resolved, tokens_learn = with_model(as_recipe(recipe), model)
    layout = resolved.parallel
    count = devices or layout.replicate * max(1, layout.shard) * layout.context * layout.tensor
    target = find_target(device, resolved, count, node_devices=devices_per_node, network_gbps=network_gbps)
    return make_plan(resolved, target, count, mfu, tokens_learn=tokens_learn)
