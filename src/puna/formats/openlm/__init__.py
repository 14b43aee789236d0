"""OpenLM's checkpoints."""
