"""Small models that rules ask: training and reading them."""
