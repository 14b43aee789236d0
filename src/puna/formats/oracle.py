"""What exports owe to other implementations that run them."""

from puna.core.schema.export import OracleResults

LOGITS_TOLERANCE = 1e-4
"""Largest difference of a logit in float32 that counts as equal: sums are taken in another order."""


def not_asked(reason: str) -> OracleResults:
    """No implementation has run the export, and why."""
    return OracleResults(oracle=None, oracle_missing=reason, logits_max_abs_difference=None)
