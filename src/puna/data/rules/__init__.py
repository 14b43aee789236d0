"""Rules that documents pass through, one per file."""
