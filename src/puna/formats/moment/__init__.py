"""A run at one moment: a checkpoint of its training, as a model."""
