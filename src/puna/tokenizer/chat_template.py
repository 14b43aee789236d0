"""The template that writes a conversation as text, in its file in a model's directory.

It is Jinja, copied unchanged from format to format; `puna.chat` runs it.
"""

from pathlib import Path

from puna.core.errors import FormatError
from puna.core.files import read_text

CHAT_TEMPLATE = "chat_template.jinja"

MOST_CHARACTERS = 1 << 20
"""Characters of a template, at most; the rest of a longer file is left out."""


def read_chat_template(directory: Path) -> str | None:
    """The template in a directory, with the line ends of the file; None if there is none.

    Raises:
        FormatError: The file cannot be read, or is not UTF-8 text.
    """
    file = directory / CHAT_TEMPLATE
    return read_text(file, FormatError, most_characters=MOST_CHARACTERS, newline="") if file.is_file() else None
