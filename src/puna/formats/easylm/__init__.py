"""EasyLM's checkpoints."""
