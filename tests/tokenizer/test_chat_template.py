from pathlib import Path

import pytest

from puna.core.errors import FormatError
from puna.tokenizer.chat_template import read_chat_template


def test_template_is_the_file_to_the_last_line_end(tmp_path: Path) -> None:
    assert read_chat_template(tmp_path) is None
    (tmp_path / "chat_template.jinja").write_bytes("{{ é }}\r\n\n".encode())
    assert read_chat_template(tmp_path) == "{{ é }}\r\n\n"


def test_bytes_that_are_not_text_are_refused_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "chat_template.jinja"
    file.write_bytes(b"ab\xff")
    with pytest.raises(FormatError) as caught:
        read_chat_template(tmp_path)
    assert caught.value.message == f"{file}: is not UTF-8 text: invalid start byte at byte 2"
