"""The parts of every section of a recipe: strict tables, kinds of values, and conflicts between values."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from puna.core.units import COUNT_PATTERN, parse_count


class Section(BaseModel):
    """One table of a recipe: unknown keys are errors, values keep their TOML type, numbers are finite."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )


class ConflictError(ValueError):
    """Values that are allowed one by one, but not together.

    Args:
        conflicts: For each conflict a sentence and its dotted keys, relative to the section.
    """

    def __init__(self, conflicts: list[tuple[str, list[str]]]) -> None:
        super().__init__("; ".join(sentence for sentence, _ in conflicts))
        self.conflicts = conflicts


def _count(value: Any) -> Any:
    return parse_count(value) if isinstance(value, str) else value


Positive = Annotated[int, Field(gt=0, lt=2**31)]
"""A whole number from 1 that fits in 32 bits: sizes of tensors and numbers of steps."""

Count = Annotated[
    int,
    BeforeValidator(_count),
    Field(gt=0, lt=2**63),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 2**63},
                {"type": "string", "pattern": COUNT_PATTERN},
            ]
        }
    ),
]
"""A positive whole number that may be written as `20k`, `1.5M` or `1.2T`."""

SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
"""The name of a source: also the name of a directory, and a TOML key without quotes."""
