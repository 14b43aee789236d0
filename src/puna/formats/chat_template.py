"""The chat template of a model directory, which writes a conversation as text. It is only copied, never run here."""

from pathlib import Path

from puna.core.errors import FormatError
from puna.formats.containers.json_object import read_json_object

CHAT_TEMPLATE = "chat_template.jinja"
_TOKENIZER_CONFIG = "tokenizer_config.json"
_MOST_BYTES = 1 << 20


def read_chat_template(directory: Path) -> str | None:
    """The template in a directory: its own file, else the one in tokenizer_config.json, as in models before 2025.

    If that has several templates, the one called `default`.

    Raises:
        FormatError: A file cannot be read, or holds no text.
    """
    file = directory / CHAT_TEMPLATE
    if file.is_file():
        try:
            with file.open(encoding="utf-8", newline="") as opened:
                return opened.read(_MOST_BYTES)
        except OSError as error:
            raise FormatError(f"{file}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise FormatError(f"{file}: is not UTF-8 text") from None
    if not (directory / _TOKENIZER_CONFIG).is_file():
        return None
    said = read_json_object(directory / _TOKENIZER_CONFIG).get("chat_template")
    if isinstance(said, list):
        named = [entry for entry in said if isinstance(entry, dict)]
        said = next((entry.get("template") for entry in named if entry.get("name") == "default"), None)
    return said if isinstance(said, str) else None
