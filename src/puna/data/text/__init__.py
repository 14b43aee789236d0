"""Words of a text and what is counted over them."""
