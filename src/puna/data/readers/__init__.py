"""Readers: from the files of one format to documents."""
