"""Tokenizers: training, encoding, and the same tokenizer in other forms."""
