"""Where raw text comes from: sources, files, archives, compression."""
