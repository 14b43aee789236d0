"""Which documents are there twice: rows that tasks exchange through files, and what a partition of them says."""
