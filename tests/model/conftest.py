"""Small decoders of every kind."""

from shapes import config, llama_config, other_config

__all__ = ["config", "llama_config", "other_config"]
