"""The template that writes a conversation as text, in the file that directories of models keep it in.

It is Jinja, carried from format to format as it is and never run here.
"""

from pathlib import Path

from puna.core.errors import FormatError
from puna.core.files import read_text

CHAT_TEMPLATE = "chat_template.jinja"

_MOST_CHARACTERS = 1 << 20
"""More than any template has; the rest of a longer file is left out."""


def read_chat_template(directory: Path) -> str | None:
    """The template in a directory, with the ends of lines that the file has; None where there is none.

    Raises:
        FormatError: The file cannot be read, or is not UTF-8 text.
    """
    file = directory / CHAT_TEMPLATE
    return read_text(file, FormatError, most_characters=_MOST_CHARACTERS, newline="") if file.is_file() else None
