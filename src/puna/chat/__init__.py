"""Conversations: turns become text by the model's own template, and text becomes token ids."""
