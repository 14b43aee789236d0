"""Errors, files, records, units, console and the layout of directories: what every layer stands on."""
