"""The version of Puna, below everything that writes it into records."""

VERSION = "0.1.0"
