"""What lies in a folder that nobody has described: kinds of files, columns of text, languages, amounts."""
