"""Which files a user means by a model: those of a path, of a run, of a repository in a cache or on the hub."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from puna.core.layout import RunDir

if TYPE_CHECKING:
    from puna.api.recipes import PathLike
    from puna.formats.checkpoint import Hints


def find_model(path: "PathLike") -> Path:
    """The model's file or directory; what is on the hub is fetched.

    Args:
        path: A run, a model in any format, a repository in Hugging Face's cache, or its name on the hub. A path that is
            not there is returned as it is, for the reader's own sentence.

    Raises:
        FormatError: A name on the hub cannot be fetched, or a repository in the cache has no single snapshot.
        CheckpointError: It is a run that has no finished model.
    """
    from puna.formats.cache import snapshot_of
    from puna.formats.hub import fetch, hub_name
    from puna.model.directory import CONFIG, resolve_model

    if (name := hub_name(path)) is not None:
        return fetch(name)
    place = Path(path)
    with suppress(OSError):  # opening it gives the error in a sentence
        if (RunDir(place).model / CONFIG).is_file() or RunDir(place).checkpoints.exists():
            return resolve_model(place)
    return snapshot_of(place)


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

    path = None if tokenizer is None else Path(tokenizer)
    return Hints(
        n_heads=heads, n_kv_heads=kv_heads, context=context, norm_eps=norm_eps, rope_theta=rope_theta, tokenizer=path
    )


def own_name(path: "PathLike") -> str:
    """What a model is called after: the last part of its path, or of its name on the hub."""
    from puna.formats.hub import hub_name

    if (name := hub_name(path)) is not None:
        return Path(name.file or name.repository).name
    # Not resolved: a link into a cache gives its own name, not the name of its target.
    return Path(os.path.abspath(path)).name
