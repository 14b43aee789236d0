"""llama2.c's model and tokenizer files."""
