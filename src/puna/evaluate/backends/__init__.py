"""What computes the model that is evaluated: the engine, a model in training, an endpoint."""
