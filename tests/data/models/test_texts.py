import gzip
import json

import pytest
import zstandard

from puna.core.errors import DataError
from puna.data.models.texts import read_texts

ROWS = [{"id": "1", "text": "first\nline"}, {"text": "zwei ü"}, {"text": ""}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def test_texts_come_file_by_file_whatever_their_compression(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(LINES + b"\n")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(LINES))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(LINES))
    found = list(read_texts(tmp_path / name for name in ("a.jsonl", "c.jsonl.zst", "b.jsonl.gz")))
    assert found == ["first\nline", "zwei ü", ""] * 3


def test_another_field_can_be_the_text(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"content": "x"}\n')
    assert list(read_texts([tmp_path / "a.jsonl"], "content")) == ["x"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2: is not JSON"),
        ("[]", "line 2: expected an object with a text 'text'"),
        ('{"text": 1}', "line 2: expected an object with a text 'text'"),
        ('{"other": ""}', "line 2: expected an object with a text 'text'"),
    ],
)
def test_a_line_without_a_text_is_named(tmp_path, line, complaint):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n' + line + "\n")
    with pytest.raises(DataError, match=rf"a\.jsonl {complaint}"):
        list(read_texts([tmp_path / "a.jsonl"]))


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read \(No such file"):
        list(read_texts([tmp_path / "none.jsonl"]))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES * 1000)[:-50])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: cannot be read to its end"):
        list(read_texts([tmp_path / "a.jsonl.gz"]))
