"""What installed packages add to Puna: objects that they declare as entry points of a group of Puna's.

A package's `pyproject.toml` says, for a format as an example:

```toml
[project.entry-points."puna.formats"]
mine = "my_package.formats:MINE"
```
"""

from importlib import metadata
from typing import Any, TypeVar

from puna.core.errors import UserError

Kind = TypeVar("Kind")


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
    for point in sorted(metadata.entry_points(group=group), key=lambda point: point.name):
        distribution = "an unknown distribution" if point.dist is None else f"the distribution {point.dist.name!r}"
        where = f"{group}: {point.name!r} of {distribution}"
        hint = "repair it, or uninstall it"
        try:
            found: Any = point.load()
        except Exception as error:  # a package's own code may raise anything
            what = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(f"{where} cannot be imported: {what:.200}", hint=hint) from None
        if not isinstance(found, kind):
            raise UserError(f"{where} is {type(found).__name__}, expected {kind.__name__}", hint=hint)
        if point.name in loaded:
            raise UserError(f"{where} has the name of another one", hint=hint)
        loaded[point.name] = found
    return loaded
