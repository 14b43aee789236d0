"""llama.cpp's GGUF."""
