"""The optimizer of a recipe: AdamW as the paper sets it, Muon with AdamW, Adafactor, or AdamW in bfloat16.

Weight decay is decoupled and spares the gains of norms. The rest of the program sees one `torch.optim.Optimizer`,
whichever it is, and steps, saves and describes it through the functions here.
"""

import re

import torch
from torch import Tensor, nn

from puna.config.recipe import OptimConfig
from puna.core.units import format_count
from puna.train import adafactor, adamw, muon, stochastic

_NAMES_SHOWN = 4


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for the matrices of the blocks and AdamW for all else, as one optimizer with one state."""

    def __init__(self, matrices: muon.Muon, rest: adamw.AdamW) -> None:
        # The groups are the same objects, so what the schedule writes into them reaches both.
        super().__init__([*matrices.param_groups, *rest.param_groups], {})
        self._parts = (matrices, rest)
        for part in self._parts:
            part.state = self.state

    # pyrefly: ignore[bad-override] the loop computes the loss; no step does
    def step(self, divisor: Tensor | None = None) -> None:
        """Move every parameter that has a gradient, which is divided by `divisor` first."""
        for part in self._parts:
            part.step(divisor)


Optimizer = adamw.AdamW | stochastic.StochasticAdamW | MuonWithAdamW | adafactor.Adafactor
"""The optimizers of `build_optimizer`: `step(divisor)` also divides the gradient."""


def build_optimizer(
    model: nn.Module, config: OptimConfig, precision: str = "fp32", seed: int = 0, *, compiled: bool = False
) -> Optimizer:
    """The optimizer over the model's parameters; the schedule sets the learning rate at every step.

    AdamW runs in one fused pass over memory, clipping included. Embeddings and the output layer count as matrices for
    the decay, but are not updated by Muon, which takes the matrices of the blocks only.

    Args:
        model: Its parameters are in the layout and dtype that they will be trained in.
        config: Which optimizer, and its constants.
        precision: train.precision; `bf16-stochastic` expects bfloat16 parameters.
        seed: Of stochastic rounding.
        compiled: Whether steps that PyTorch has no kernel for are compiled.

    Raises:
        ValueError: Muon or Adafactor in a precision that it cannot work in, which a recipe refuses.
    """
    if config.name != "adamw" and precision == "bf16-stochastic":
        raise ValueError(f"{config.name} needs float32 weights, which no recipe with bf16-stochastic has")
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    matrices = [p for name, p in named if config.name == "muon" and "layers." in name and p.ndim == 2]
    taken = {id(parameter) for parameter in matrices}
    rest = [parameter for _, parameter in named if id(parameter) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    if config.name == "adafactor":
        return adafactor.Adafactor(groups, lr=config.lr)
    betas = (config.beta1, config.beta2)
    if precision == "bf16-stochastic":
        return stochastic.StochasticAdamW(
            groups, lr=config.lr, betas=betas, eps=config.eps, seed=seed, compiled=compiled
        )  # fmt: skip
    moments = adamw.AdamW(groups, lr=config.lr, betas=betas, eps=config.eps)
    if config.name == "adamw":
        return moments
    group = {"params": matrices, "weight_decay": config.weight_decay}
    return MuonWithAdamW(muon.Muon([group], lr=config.lr, momentum=config.momentum), moments)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Make `lr` the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def ensure_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Give every parameter that is trained its zero state, so that a checkpoint can be read into it."""
    groups = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    for parameter in model.parameters():
        if parameter in groups and not optimizer.state[parameter]:
            optimizer.state[parameter] = _zero_state(parameter, groups[parameter], optimizer)


def named_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor of the optimizer's state, as `optim.<parameter>.<key>`; they share memory with the optimizer."""
    return {
        f"optim.{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def describe_groups(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """One line for people per group of parameters: what updates them, how many there are, and which.

    `Muon: 14 tensors, 6.5B parameters, momentum 0.95, decay 0.1: layers.*.attention.wq.weight, ...`
    Numbers are those of the whole model, even if this device has only a part of it.
    """
    names = {parameter: re.sub(r"\.\d+\.", ".*.", name) for name, parameter in model.named_parameters()}
    lines = []
    for group in optimizer.param_groups:
        if not (parameters := group["params"]):
            continue
        if isinstance(optimizer, adafactor.Adafactor):
            what, constants = "Adafactor", "rates relative to the weights"
        elif _is_muon(group):
            what, constants = "Muon", f"momentum {group['momentum']:g}"
        else:
            rounded = isinstance(optimizer, stochastic.StochasticAdamW)
            what = "AdamW in bfloat16 with stochastic rounding" if rounded else "AdamW"
            constants = "betas {:g} and {:g}".format(*group["betas"])
        patterns = list(dict.fromkeys(names[parameter] for parameter in parameters))
        shown = ", ".join(patterns[:_NAMES_SHOWN]) + (", ..." if len(patterns) > _NAMES_SHOWN else "")
        count = format_count(sum(parameter.numel() for parameter in parameters))
        tensors = f"{len(parameters)} tensor{'s' if len(parameters) > 1 else ''}"
        decay = f"decay {group['weight_decay']:g}" if group["weight_decay"] else "no decay"
        lines.append(f"{what}: {tensors}, {count} parameters, {constants}, {decay}: {shown}")
    return lines


def _is_muon(group: dict) -> bool:
    return "momentum" in group


def _zero_state(parameter: Tensor, group: dict, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    if isinstance(optimizer, adafactor.Adafactor):
        return adafactor.zero_state(parameter)
    if _is_muon(group):
        return muon.zero_state(parameter)
    rounded = isinstance(optimizer, stochastic.StochasticAdamW)
    return stochastic.zero_state(parameter) if rounded else adamw.zero_state(parameter)
