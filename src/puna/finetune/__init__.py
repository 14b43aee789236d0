"""Instruction tuning: examples to packed batches, low-rank updates, preferences, and the run that joins them."""
