"""Evaluations: what a task asks of a model, how answers are judged, and what comes of them."""
