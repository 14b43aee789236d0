"""The model that is tuned, opened: its shape, its tokenizer, and the template by which it will chat."""

from pathlib import Path
from typing import TYPE_CHECKING

from puna.api.initial import open_initial, with_shape
from puna.core.console import warn
from puna.core.errors import CheckpointError, TokenizerError
from puna.core.layout import RunDir
from puna.core.schema.train_state import list_checkpoints
from puna.tokenizer.chat_template import CHAT_TEMPLATE

if TYPE_CHECKING:
    from puna.config.recipe import Recipe
    from puna.finetune.begin import Base
    from puna.tokenizer.tokenizer import Tokenizer


def base_of(recipe: "Recipe", run: RunDir, *, forced: bool, resume: bool) -> tuple["Recipe", "Base"]:
    """The recipe with the model's shape, and the model.

    Args:
        recipe: One of tuning, whose `train.init_from` names the model.
        run: The run's directory; where it has begun, it has tokenizer and template.
        forced: Whether the model's shape also takes the place of what the recipe gives.
        resume: Whether the run goes on.

    Raises:
        UserError: The model cannot be read, has no tokenizer, or does not fit the recipe; or the run goes on, and the
            file of its template has changed.
    """
    from puna.chat.template import ChatTemplate
    from puna.config.load import load_recipe
    from puna.finetune.begin import Base
    from puna.tokenizer.chat_template import read_chat_template
    from puna.tokenizer.load import load_tokenizer

    place, tuning = recipe.train.init_from, recipe.finetune
    assert place is not None  # noqa: S101 - the caller has asked for both
    assert tuning is not None  # noqa: S101
    source = read_chat_template(run.tokenizer) if resume and list_checkpoints(run) else None
    if source is not None:
        # The run has begun: it needs the model no more.
        _check_template(tuning.template, source, run)
        saved = load_recipe(str(run.config)).recipe
        tokenizer = load_tokenizer(run.tokenizer)
        template = ChatTemplate(source, tokenizer)
        # But for what does not learn, which is in no checkpoint.
        whole = tuning.method == "full" and not tuning.freeze
        initial = None if whole else open_initial(place)
        base = Base(
            place=place, tokenizer=tokenizer, template=template, other=None if initial is None else initial.other,
            new_tokens=_new(tokenizer, None if initial is None else initial.tokenizer),
        )  # fmt: skip
        return with_shape(recipe, saved.model, place, forced=forced), base
    tuned, base, _ = opened(recipe, place, forced=forced)
    return tuned, base


def opened(recipe: "Recipe", place: str, *, forced: bool) -> tuple["Recipe", "Base", int]:
    """The recipe with the shape of a model that a run would begin with, that model, and its rows for tokens.

    Args:
        recipe: One of tuning.
        place: The model, as the user named it.
        forced: Whether the model's shape also takes the place of what the recipe gives.

    Raises:
        UserError: The model cannot be read, has no tokenizer, or does not fit the recipe.
    """
    from puna.chat.growing import rewrites
    from puna.chat.shipped import chat_setup
    from puna.finetune.begin import Base

    tuning, initial = recipe.finetune, open_initial(place)
    assert tuning is not None  # noqa: S101 - the caller has asked for it
    if initial.tokenizer is None:
        raise TokenizerError(
            f"{place}: has no tokenizer, so the model takes no text",
            hint="import it with its tokenizer: `puna import PATH --tokenizer PATH`",
        )
    setup = chat_setup(tuning.template, initial.chat_template, initial.tokenizer)
    for phrase in rewrites(setup.template):
        warn(f"finetune.template = {tuning.template!r}: {phrase}, so that what is learned is not quite what is asked")
    shape = initial.config
    if setup.tokenizer.vocab_size > shape.vocab_size:
        shape = shape.model_copy(update={"vocab_size": setup.tokenizer.vocab_size})
    base = Base(
        place=place, tokenizer=setup.tokenizer, template=setup.template, other=initial.other,
        new_tokens=_new(setup.tokenizer, initial.tokenizer),
    )  # fmt: skip
    return with_shape(recipe, shape, place, forced=forced), base, initial.config.vocab_size


def _check_template(name: str, source: str, run: RunDir) -> None:
    """Refuse to go on by another template than a run has begun with; a file that is gone is needed no more.

    Args:
        name: As `finetune.template` has it.
        source: The template that the run has.
        run: The run.

    Raises:
        CheckpointError: It is a file, which has another template now.
        GenerateError: The file cannot be read.
    """
    from puna.chat.shipped import template_in
    from puna.config.finetune import TEMPLATES

    if name not in TEMPLATES and Path(name).exists() and template_in(Path(name)) != source:
        raise CheckpointError(
            f"{run}: was tuned by another chat template than {name} has now",
            hint=f"put that of the run back, {run.tokenizer / CHAT_TEMPLATE}, choose another --run-dir, or start again "
            "with --force",
        )


def _new(tokenizer: "Tokenizer", own: "Tokenizer | None") -> range:
    """The tokens that the model's own tokenizer does not have."""
    return range(0) if own is None else range(own.vocab_size, tokenizer.vocab_size)
