"""Parameters that do not learn, chosen by patterns of their names such as `layers.[0-3].*`."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import Tensor

from puna.core.errors import TrainError
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
    frozen: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if fnmatchcase(name, pattern)}
        if not found:
            raise TrainError(
                f"finetune.freeze: {pattern!r} matches no parameter",
                hint="names are such as tok_embeddings.weight, layers.0.attention.wq.weight, norm.weight",
            )
        frozen |= found
    if len(frozen) == len(names):
        raise TrainError("finetune.freeze: matches all parameters, so nothing would learn")
    for name in frozen:
        names[name].requires_grad_(False)
    return frozen


def is_frozen(parameter: Tensor) -> bool:
    """Whether a parameter does not learn."""
    return not parameter.requires_grad


def learns_in_part(model: Llama) -> bool:
    """Whether some of the model's parameters do not learn, so that a checkpoint lacks them."""
    return any(is_frozen(parameter) for parameter in model.parameters())
