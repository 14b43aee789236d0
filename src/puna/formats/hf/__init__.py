"""Hugging Face's directories."""
