"""Where a run comes from: the runs and models that it was extended, branched or continued from.

A run's lineage is a list of parents, oldest first. It stands in the state of every checkpoint (`state.json`), in the
run's record, and in the proofs of what was exported from it.
"""

from typing import Literal

from pydantic import Field

from puna.core.schema.part import Count, Part


class Parent(Part):
    """One event of a run's past: what it had been before, and what was changed."""

    how: Literal["extended", "branched", "continued"]
    """`extended`: the same run went on beyond its end. `branched`: another run began from a whole training state of
    the parent, at its place in the data. `continued`: another run began from the parent's weights, with new data order
    and schedule."""
    run: str
    """The name of the parent's recipe; for a model that is not of a run, its directory's or file's name."""
    place: str
    """The parent as the user named it: a path, relative if it was given so, or a name on the hub."""
    step: Count | None = None
    """Optimizer steps of the parent until then; None for a model that does not say."""
    tokens: Count = 0
    """Tokens of those steps; 0 where they are not known."""
    weights: str = ""
    """SHA-256 that names the parent's weights."""
    changes: list[str] = Field(default=[])
    """What differs in the recipe, as `puna.config.explain.differences` writes it: `optim.lr: 0.001 -> 0.0005`."""
    optimizer: Literal["kept", "fresh"] = "fresh"
    """Whether the state of the optimizer came along."""
