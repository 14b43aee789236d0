"""Finds text in the training data: an index over token shards, and exact search in it."""
