"""Errors, files, records, units, console and the layout of directories, for every layer."""
