"""Models in the formats of others, in and out, with the proof that each is the same model."""
