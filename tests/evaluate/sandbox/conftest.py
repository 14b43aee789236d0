"""The isolation that programs are tried in."""

from confined import attempt, isolation

__all__ = ["attempt", "isolation"]
