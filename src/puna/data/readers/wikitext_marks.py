"""Marks that no page holds, since control characters are removed from it first."""

HOLE, GAP, SPOKEN = "\x01", "\x11", "\x12"
"""What was removed shows no words of the sentence: a reference, a picture; perhaps it did: a template that nobody here
knows; how a word is spoken, up to `END`: it goes with its brackets and stays elsewhere."""
BULLET, NUMBER, INDENT, TERM, BREAK = "\x02", "\x03", "\x04", "\x05", "\x06"
"""The line is an item of a list, of a numbered one, indented, a term; a line ends here within its paragraph."""
STASHED, END = "\x0e", "\x0f"
"""Two marks around the number of a piece that is set aside."""
LESS, ROW, PRE, BLANK = "\x10", "\x13", "\x14", "\x15"
"""A `<` that begins no tag; the line belongs to a table or template without an end; the line is preformatted; a blank
that stays one."""
