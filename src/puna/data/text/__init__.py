"""Words of a text and counts over them, and conversion of HTML, LaTeX and other markup to text."""
