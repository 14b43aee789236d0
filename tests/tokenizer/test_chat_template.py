from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import FormatError
from puna.tokenizer.chat_template import read_chat_template, without_blocks


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


LINES = """{%- for m in messages %}
    {%- generation -%}  a
      {{ m.content }}
    {%- endgeneration %}

  {% generation %}
    b {% endgeneration -%}
    {%+ generation +%} c {%- endgeneration +%} d
{% endfor %}"""


def test_without_its_blocks_a_template_is_plain_jinja_that_writes_the_same() -> None:
    """Spaces and line ends around blocks stay or go as around the blocks that transformers knows."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from transformers.utils.chat_template_utils import render_jinja_template

    settings: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True}
    plain = ImmutableSandboxedEnvironment(**settings).from_string(without_blocks(LINES))
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    ((theirs,), _) = render_jinja_template([messages], chat_template=LINES)
    assert plain.render(messages=messages) == theirs
    assert "generation" not in without_blocks(LINES)


def test_a_template_without_blocks_stays_as_it_is() -> None:
    template = "{% if add_generation_prompt %}{{ 'generation' }}{% endif %}"
    assert without_blocks(template) == template
