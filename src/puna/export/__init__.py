"""A model in the formats of others, with the proof that it is the same model."""
