"""Generation of text from a model."""
