"""The page of an evaluation: figures, tables, and every document with its answer."""
