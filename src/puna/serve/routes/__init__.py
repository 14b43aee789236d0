"""What the server answers, a module for each family of addresses."""
