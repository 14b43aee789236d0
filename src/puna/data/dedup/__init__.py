"""Finds duplicate documents: rows that tasks exchange through files, and the work on a partition of them."""
