"""The chat template in Hugging Face's directories."""

from pathlib import Path

from puna.formats.containers.json_object import read_json_object
from puna.tokenizer.chat_template import read_chat_template

_TOKENIZER_CONFIG = "tokenizer_config.json"


def read_huggingface_chat_template(directory: Path) -> str | None:
    """The template in a directory: its own file, else the one in tokenizer_config.json, as in models before 2025.

    If that has several templates, the one called `default`.

    Raises:
        FormatError: A file cannot be read, or holds no text.
    """
    if (template := read_chat_template(directory)) is not None:
        return template
    if not (directory / _TOKENIZER_CONFIG).is_file():
        return None
    found = read_json_object(directory / _TOKENIZER_CONFIG).get("chat_template")
    if isinstance(found, list):
        tables = [entry for entry in found if isinstance(entry, dict)]
        found = next((entry.get("template") for entry in tables if entry.get("name") == "default"), None)
    return found if isinstance(found, str) else None
