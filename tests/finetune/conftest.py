"""Data builds of examples."""

from shelf import no_waiting_for_the_disk, out

__all__ = ["no_waiting_for_the_disk", "out"]
