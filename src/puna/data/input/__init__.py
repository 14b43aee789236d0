"""The input of raw text: sources, files, archives, compression."""
