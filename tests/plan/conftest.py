"""Small decoders of every kind."""

from shapes import config

__all__ = ["config"]
