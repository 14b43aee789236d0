"""Kernels, each beside a slow obvious reference."""
