"""Who asks: a name for limits and logs, and a salt that keeps callers' cached prefixes apart."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    name: str = "anyone"
    """As the file of keys names the key; it stands in logs and metrics, the key itself nowhere."""
    salt: str = ""
    """Of `Request.salt`: the engine shares prefixes between requests of one salt alone."""


ANYONE = Caller()
"""Every caller of a server without keys."""
