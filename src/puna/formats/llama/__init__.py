"""Meta's original checkpoints."""
