"""Puna's own model directory, as one of the formats."""
