"""Which files a user means by a model: those of a path, of a run, of a repository in a cache or on the hub."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from puna.core.console import say
from puna.core.hub_name import hub_name
from puna.core.layout import RunDir
from puna.core.reference import Moment, find_moment
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.api.recipes import PathLike
    from puna.formats.checkpoint import Hints


def find_model(path: "PathLike") -> Path:
    """The model's file or directory; what is on the hub is fetched.

    Of a run it is the finished model, else the newest checkpoint, which a line on stderr says.

    Args:
        path: A run, a moment of it (`RUN@step-400`, `puna.core.reference`), a model in any format, a repository in
            Hugging Face's cache, or its name on the hub. A path that is not there is returned as it is, for the
            reader's own sentence.

    Raises:
        FormatError: A name on the hub cannot be fetched, or a repository in the cache has no single snapshot.
        CheckpointError: It is a run without such a checkpoint, or with neither a model nor a checkpoint.
    """
    from puna.formats.cache import snapshot_of
    from puna.formats.hub import fetch

    if (moment := named_moment(path)) is not None:
        return moment.directory
    if (name := hub_name(path)) is not None:
        return fetch(name)
    place = Path(path)
    with suppress(OSError):  # opening it gives the error in a sentence
        if RunDir(place).has_model:
            return RunDir(place).model
    return snapshot_of(place)


def named_moment(path: "PathLike") -> Moment | None:
    """The moment of a run that a path names, said on stderr where the path does not name its step; None for all else.

    Raises:
        CheckpointError: The run has no such checkpoint.
        StorageError: The path is empty or cannot be looked up.
    """
    moment = _moment(path)
    if moment is not None and moment.why:
        say(f"{path}: {moment.name}, {moment.why}")
    return moment


def _moment(path: "PathLike") -> Moment | None:
    user_path(path)
    with suppress(OSError):  # opening it gives the error in a sentence
        return find_moment(path)
    return None


def hints_of(
    tokenizer: "PathLike | None",
    heads: int | None,
    kv_heads: int | None,
    context: int | None,
    norm_eps: float | None,
    rope_theta: float | None,
) -> "Hints":
    """A user's values for what a format does not state."""
    from puna.formats.checkpoint import Hints

    path = None if tokenizer is None else user_path(tokenizer)
    return Hints(
        n_heads=heads, n_kv_heads=kv_heads, context=context, norm_eps=norm_eps, rope_theta=rope_theta, tokenizer=path
    )


def own_name(path: "PathLike") -> str:
    """What a model is called after: the last part of its path, or of its name on the hub; a run's moment has its step.

    Raises:
        CheckpointError: It is a moment of a run which that has not.
    """
    if (moment := _moment(path)) is not None:
        return f"{Path(os.path.abspath(moment.run)).name}-{moment.name}"
    if (name := hub_name(path)) is not None:
        return Path(name.file or name.repository).name
    # Not resolved: a link into a cache gives its own name, not the name of its target.
    return Path(os.path.abspath(path)).name
