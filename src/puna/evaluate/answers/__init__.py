"""What a text gives as its answer to a problem, and whether two answers say the same."""
