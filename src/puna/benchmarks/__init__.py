"""Data of evaluations: which files, from where, under which licence, checked by their hashes."""
