"""How a user named a recipe, so that hints are commands that work as they are typed."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Typed:
    """The words of a command line that name a recipe and its overrides; none of a recipe that Python code has made.

    All are equal, because recipes are equal that say the same, however they were named.
    """

    words: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Typed)

    __hash__ = None  # type: ignore[assignment]  # nothing of it tells two of them apart

    @classmethod
    def of(cls, name: str, overrides: Sequence[str] | Mapping[str, Any] | None) -> "Typed":
        """The words for what `load_recipe` has taken."""
        if isinstance(overrides, Mapping):
            overrides = [word for key, value in overrides.items() for word in _words(key, value)]
        return cls((name, *(overrides or ())))

    def __str__(self) -> str:
        return shlex.join(self.words)


def _words(key: str, value: Any) -> list[str]:
    """`key=value` for each value of a table, which JSON writes as TOML does."""
    if isinstance(value, Mapping):
        return [word for name, inner in value.items() for word in _words(f"{key}.{name}", inner)]
    return [f"{key}={json.dumps(value, default=os.fspath)}"]
