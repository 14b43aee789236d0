"""Parameters that do not learn, chosen by patterns of their names such as `layers.[0-3].*`."""

from collections.abc import Sequence

from torch import Tensor

from puna.config.finetune import frozen_names
from puna.model.llama import Llama


def freeze(model: Llama, patterns: Sequence[str]) -> set[str]:
    """Keep the parameters that match a pattern from learning, in place; returns their names.

    Args:
        model: On any device, before its optimizer is made.
        patterns: As the shell has them: `*` any text, `?` any character, `[0-3]` one of these.

    Raises:
        TrainError: A pattern matches no parameter, or all parameters match.
    """
    names = dict(model.named_parameters())
    frozen = frozen_names(names, patterns)
    for name in frozen:
        names[name].requires_grad_(False)
    return frozen


def is_frozen(parameter: Tensor) -> bool:
    """Whether a parameter does not learn."""
    return not parameter.requires_grad


def learns_in_part(model: Llama) -> bool:
    """Whether some of the model's parameters do not learn, so that a checkpoint lacks them."""
    return any(is_frozen(parameter) for parameter in model.parameters())
