"""What `import puna` offers; the commands call the same functions."""
