"""The model that a plan of tuning is made for: its shape, and whether tokens are new to it."""

import os
from typing import TYPE_CHECKING

from puna.api.recipes import PathLike
from puna.core.console import say
from puna.core.errors import ConfigError, TrainError
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.config.recipe import Recipe


def with_model(recipe: "Recipe", model: PathLike | None) -> tuple["Recipe", bool]:
    """A recipe with the shape of the model that it tunes, and whether rows of new tokens learn beside updates.

    Args:
        recipe: One of pre-training is returned as it is.
        model: A model, or a recipe whose [model] is meant; None is the recipe's `train.init_from`.

    Raises:
        ConfigError: The recipe tunes no model, or its values do not go with the model's shape.
        TrainError: Which model is tuned was not said.
        UserError: The model cannot be opened.
    """
    if recipe.finetune is None:
        if model is not None:
            raise ConfigError(
                [f"--model {model}: is for recipes with [finetune], and {recipe.name!r} has no such section"]
            )
        return recipe, False
    place = os.fspath(model) if model is not None else recipe.train.init_from
    if place is None:
        raise TrainError(
            "which model is to be tuned was not said",
            hint="name a run, a model in any format, one on the hub, or a recipe whose [model] is meant: `--model "
            "llama-7b`; or set train.init_from",
        )
    forced = model is not None
    if _is_recipe(place):
        return _of_recipe(recipe, place, forced=forced)
    from puna.api.tuned_model import opened

    tuned, base, rows = opened(recipe, place, forced=forced)
    return tuned, len(base.new_tokens) > 0 or tuned.model.vocab_size > rows


def _is_recipe(place: str) -> bool:
    """Whether a recipe is meant, and not a model that lies at a path of this name."""
    from puna.config.load import shipped_recipes

    return place.endswith(".toml") or (place in shipped_recipes() and not user_path(place).exists())


def _of_recipe(recipe: "Recipe", place: str, *, forced: bool) -> tuple["Recipe", bool]:
    """The same for the shape of a recipe, whose tokenizer has none of the template's control tokens."""
    from puna.api.initial import with_shape
    from puna.api.recipes import load
    from puna.chat.shipped import control_tokens

    other, tuning = load(place).recipe, recipe.finetune
    if other.finetune is not None or tuning is None:
        raise ConfigError([f"--model {place}: is a recipe that tunes a model, and has no shape of its own"])
    new, shape = control_tokens(tuning.template), other.model
    if new:
        say(f"{place}: a recipe, so that {' and '.join(new)} count as new tokens")
        shape = shape.model_copy(update={"vocab_size": shape.vocab_size + len(new)})
    tuned = with_shape(recipe, shape, place, forced=forced)
    return tuned, bool(new) or tuned.model.vocab_size > other.model.vocab_size
