"""The decoder, its initial weights, its cache, its counts and its files."""
