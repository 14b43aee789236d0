"""The model that a run begins with (`train.init_from`), in any format: its shape, and its tokenizer."""

import json
import shlex
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from puna.api.place import find_model, own_name
from puna.core.console import say, warn
from puna.core.errors import CheckpointError, ConfigError, TokenizerError, TrainError
from puna.core.hub_name import hub_name
from puna.core.layout import DataDir

if TYPE_CHECKING:
    from puna.config.recipe import ModelConfig, Recipe
    from puna.formats.checkpoint import Checkpoint
    from puna.tokenizer.tokenizer import Tokenizer

_OWN = {"context", "rope_theta", "rope_scaling", "init", "init_std"}
"""Fields of [model] that a recipe may have unlike the model that it begins with."""


@dataclass(frozen=True, kw_only=True)
class InitialModel:
    """A model to begin with; no weight has been read."""

    place: str
    config: "ModelConfig"
    tokenizer: "Tokenizer | None"
    chat_template: str | None = None
    """The Jinja template that lies with the model."""
    other: "Checkpoint | None" = None
    """The opened files, where they are in another format than Puna's own."""

    def check_tokenizer(self, data: DataDir) -> None:
        """Refuse data whose tokens are others than those that the model knows.

        Raises:
            TrainError: At some id there is another token; new tokens behind the model's own are none of them.
        """
        from puna.tokenizer.load import load_tokenizer

        ours, theirs = load_tokenizer(data.tokenizer), self.tokenizer
        if theirs is None:
            warn(f"{self.place}: has no tokenizer, so it is not known whether its tokens are those of {data}")
            return
        if ours.sha256 == theirs.sha256:
            return
        known, read = theirs.token_bytes(), ours.token_bytes()
        others = sum(one != other for one, other in zip(known, read, strict=False)) + max(0, len(known) - len(read))
        if others:
            kept = self.place
            first = ""
            if hub_name(self.place) is not None:  # which a recipe cannot take a tokenizer from
                kept = f"models/{own_name(self.place)}"
                first = f"`{shlex.join(['puna', 'import', self.place, '--out', kept])}`, then "
            raise TrainError(
                f"{data}: was tokenized with another tokenizer than that of {self.place}: {others} of its {len(known)} "
                "tokens are others, so the model's embeddings would mean something else",
                hint=f"{first}write [tokenizer] from = {json.dumps(kept)} into the recipe and build the data again",
            )


def open_initial(place: str) -> InitialModel:
    """The model at a place: a run, a moment of one, a file or directory in any format, or a name on the hub.

    Raises:
        FormatError: Nothing is there, or it is not a LLaMA decoder that Puna reads.
        CheckpointError: The run has no such moment, or a file of it is damaged.
        TokenizerError: The tokenizer of the model cannot be used.
    """
    from puna.core.reference import find_moment
    from puna.formats.checked_tokenizer import checked_tokenizer
    from puna.formats.checkpoint import Hints
    from puna.formats.moment.format import MOMENT
    from puna.formats.registry import format_of
    from puna.formats.tuned_moment import TunedMoment, with_base
    from puna.model.description import read_config
    from puna.model.directory import CONFIG
    from puna.tokenizer.chat_template import read_chat_template
    from puna.tokenizer.existing import named_tokenizer

    own: Tokenizer | None = None
    if (moment := find_moment(place)) is not None:
        with suppress(TokenizerError):
            own = named_tokenizer(place)
        # What learns in a run of tuning may be a part of the weights, and is then read with the rest.
        opened = with_base(MOMENT.open(moment.directory, Hints()))
        return InitialModel(
            place=place, config=opened.config, tokenizer=own, chat_template=opened.chat_template,
            other=opened if isinstance(opened, TunedMoment) else None,
        )  # fmt: skip
    path = find_model(place)
    if (path / CONFIG).is_file():
        with suppress(TokenizerError):
            own = named_tokenizer(str(path))
        return InitialModel(
            place=place, config=read_config(path), tokenizer=own, chat_template=read_chat_template(path)
        )
    checkpoint = format_of(path, None).open(path, Hints())
    checkpoint.check_complete()
    for note in checkpoint.notes:
        say(f"{place}: {note}")
    tokenizer = checked_tokenizer(checkpoint, Hints())
    return InitialModel(
        place=place, config=checkpoint.config, tokenizer=tokenizer, chat_template=checkpoint.chat_template,
        other=checkpoint,
    )  # fmt: skip


def with_shape(recipe: "Recipe", config: "ModelConfig", place: str, *, forced: bool) -> "Recipe":
    """The recipe with the shape of the model that it begins with.

    Args:
        recipe: What its [model] does not give is the model's. Context and rotary positions that it gives stay; so does
            a larger vocabulary.
        config: The model's shape.
        place: The model, as the user named it.
        forced: Whether the model's shape also takes the place of what the recipe gives.

    Raises:
        CheckpointError: The recipe gives another shape, and it is not forced.
        ConfigError: The recipe's other values do not go with this shape.
    """
    from puna.config.problems import describe
    from puna.config.recipe import Recipe

    given, ours, theirs = recipe.model.model_fields_set, recipe.model.model_dump(), config.model_dump()
    taken = {name: ours[name] if name in _OWN & given else value for name, value in theirs.items()}
    if "vocab_size" in given:
        taken["vocab_size"] = max(ours["vocab_size"], theirs["vocab_size"])
    # A smaller vocabulary is one that the model has padded; tokens are compared by themselves.
    other = [name for name in taken if name in given - {"vocab_size"} and ours[name] != taken[name]]
    told = ", ".join(f"{name} = {taken[name]!r}, not {ours[name]!r}" for name in other)
    if other and not forced:
        raise CheckpointError(
            f"{place}: is of another decoder than the recipe's: it has {told}",
            hint="leave these out of [model], which then are the model's; "
            f"`{'--init-from' if recipe.finetune is None else '--model'}` on the command line takes the model's in any "
            "case",
        )
    if other:
        say(f"{place}: gives [model] {told}")
    values = recipe.model_dump(exclude_none=True)
    values["model"] = {name: value for name, value in taken.items() if value is not None}
    try:
        # The copy is typed on a command line as the recipe is.
        return recipe.model_copy(update={"model": Recipe.model_validate(values).model})
    except ValidationError as error:
        raise ConfigError(describe(error, {}, source=recipe.name)) from None
