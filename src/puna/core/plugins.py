"""What installed packages add to Puna: objects that they declare as entry points of a group of Puna's.

A package's `pyproject.toml` says, for a format as an example:

```toml
[project.entry-points."puna.formats"]
mine = "my_package.formats:MINE"
```
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, TypeVar

from puna.core.errors import UserError

HINT = "repair it, or uninstall it"
"""What to do about a package that is not right."""

Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One object that a package adds; it is imported by `load`."""

    group: str
    name: str
    brought_by: str
    """For sentences: `the distribution 'shouting'`."""
    origin: str
    """Changes with its code: the distribution and its version."""
    read: Callable[[], Any] = field(repr=False)
    """Imports the object; any error may come of it."""

    def __str__(self) -> str:
        return f"{self.group}: {self.name!r} of {self.brought_by}"

    def load(self) -> Any:
        """The object.

        Raises:
            UserError: It cannot be imported.
        """
        try:
            return self.read()
        except Exception as error:  # a package's own code may raise anything
            what = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(f"{self} cannot be imported: {what:.200}", hint=HINT) from None


def installed(group: str) -> list[Plugin]:
    """What packages add to a group, in the order of the names; nothing is imported."""
    found = []
    for point in sorted(metadata.entry_points(group=group), key=lambda point: point.name):
        brought_by, origin = "an unknown distribution", "unknown"
        if point.dist is not None:
            brought_by = f"the distribution {point.dist.name!r}"
            origin = f"{point.dist.name} {point.dist.version}"
        found.append(Plugin(group=group, name=point.name, brought_by=brought_by, origin=origin, read=point.load))
    return found


def load_plugins(group: str, kind: type[Kind]) -> dict[str, Kind]:
    """What packages add to a group, by the name that each has there, in the order of the names.

    Args:
        group: Such as `puna.formats`.
        kind: What each must be.

    Raises:
        UserError: A package's object cannot be imported, is something else, or has the name of another one; the
            distribution is named.
    """
    loaded: dict[str, Kind] = {}
    for plugin in installed(group):
        found = plugin.load()
        if not isinstance(found, kind):
            raise UserError(f"{plugin} is {type(found).__name__}, expected {kind.__name__}", hint=HINT)
        if plugin.name in loaded:
            raise UserError(f"{plugin} has the name of another one", hint=HINT)
        loaded[plugin.name] = found
    return loaded
