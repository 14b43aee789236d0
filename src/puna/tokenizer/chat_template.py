"""The template that writes a conversation as text, in its file in a model's directory.

It is Jinja, copied unchanged from format to format; `puna.chat` runs it.
"""

import re
from pathlib import Path

from puna.core.errors import FormatError
from puna.core.files import read_text

CHAT_TEMPLATE = "chat_template.jinja"

MOST_CHARACTERS = 1 << 20
"""Characters of a template, at most; the rest of a longer file is left out."""
_BLOCK = re.compile(r"\{%([-+]?)\s*(generation|endgeneration)\s*([-+]?)%\}")


def read_chat_template(directory: Path) -> str | None:
    """The template in a directory, with the line ends of the file; None if there is none.

    Raises:
        FormatError: The file cannot be read, or is not UTF-8 text.
    """
    file = directory / CHAT_TEMPLATE
    return read_text(file, FormatError, most_characters=MOST_CHARACTERS, newline="") if file.is_file() else None


def without_blocks(template: str) -> str:
    """The template without `{% generation %}` blocks, which only tuning needs; it writes the same.

    They are an extension of Jinja by transformers. Programs that read GGUF files with plain Jinja refuse such a
    template. A condition that always holds takes their place, so that spaces and line ends around them stay.
    """
    words = {"generation": "if true", "endgeneration": "endif"}
    return _BLOCK.sub(lambda tag: f"{{%{tag[1]} {words[tag[2]]} {tag[3]}%}}", template)
