"""One page from the records of a run."""
