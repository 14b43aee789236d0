"""The shelf's documents, and what looks into a build."""

from builds import changed, hashes, lines

__all__ = ["changed", "hashes", "lines"]
