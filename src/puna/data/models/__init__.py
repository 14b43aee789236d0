"""Small models for rules: training and reading them."""
