"""Puna: LLaMA as one system, from raw text to a trained, exported, talking model."""

__version__ = "0.1.0"
