"""Typed parts of the JSON files that stages exchange, checked by their writers and readers.

A missing field or one of another type means that the file is damaged or of another stage, so it is named in one
sentence before anything is computed from it.
"""

from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from puna.core.errors import DataError

Count: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]

Number: TypeAlias = float | Literal["nan", "inf", "-inf"]
"""A number, or its name if it is not finite, because JSON holds finite numbers only."""

_LONGEST_VALUE = 60
"""How many characters of a value a message quotes."""


class Part(BaseModel):
    """A part of a file; numbers are finite, because JSON in a browser has no others."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False, extra="ignore")


Kind = TypeVar("Kind", bound=Part)


def parse(kind: type[Kind], value: Any, where: str) -> Kind:
    """Parse `value` as a `kind`.

    Args:
        kind: The class to parse it as.
        value: The content of a JSON file.
        where: Names the file, and the line if there are several.

    Raises:
        DataError: A field is missing or of another type; the first one is named.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "missing":
        raise DataError(f"{where}: {key!r} is missing")
    label = f"{where}: {key!r}" if key else where
    expected = "a JSON object" if problem["type"] == "model_type" else problem["msg"].removeprefix("Input should be ")
    found = repr(problem["input"])
    found = found if len(found) <= _LONGEST_VALUE else f"{found[: _LONGEST_VALUE - 1]}…"
    raise DataError(f"{label} should be {expected}, got {found}")
