"""llama2.c's files."""
