"""Readers: each turns the files of one format into documents."""
