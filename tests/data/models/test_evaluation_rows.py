import gzip
from pathlib import Path

import pytest
import zstandard

from puna.core.errors import DataError
from puna.data.models.evaluation_rows import Row, find, read_rows


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def test_all_strings_of_a_json_line_are_there_in_their_order_but_not_its_keys(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"q": "x", "n": 3, "choices": ["y", {"deep": "z"}], "no": null}\n\n"bare"\n')
    assert list(read_rows(path)) == [Row(1, ["x", "y", "z"]), Row(3, ["bare"])]


def test_a_csv_has_cells_in_quotes_over_several_lines(tmp_path):
    path = write(tmp_path / "a.csv", 'question,answer\n"one, two\nthree","she said ""no"""\n4,5\n', "utf-8-sig")
    assert list(read_rows(path)) == [
        Row(1, ["question", "answer"]),
        Row(2, ["one, two\nthree", 'she said "no"']),
        Row(3, ["4", "5"]),
    ]


def test_quotation_marks_in_a_tsv_are_text(tmp_path):
    path = write(tmp_path / "a.tsv", 'id\tsentence\n1\t"Stop, he said\n2\tand "went"\n')
    assert list(read_rows(path)) == [
        Row(1, ["id", "sentence"]),
        Row(2, ["1", '"Stop, he said']),
        Row(3, ["2", 'and "went"']),
    ]


def test_a_row_of_a_text_is_a_paragraph(tmp_path):
    path = write(tmp_path / "a.txt", "\n\none\ntwo\n\n \nthree")
    assert list(read_rows(path)) == [Row(1, ["one\ntwo\n"]), Row(2, ["three"])]


def test_compression_is_looked_through(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'["x"]\n'))
    (tmp_path / "b.txt.zst").write_bytes(zstandard.compress(b"x"))
    assert [list(read_rows(path)) for path in find("s", str(tmp_path / "*"))] == [[Row(1, ["x"])], [Row(1, ["x"])]]


def test_files_are_found_in_the_order_of_their_names_below_folders_too(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.jsonl", "a.csv", "sub/c.txt"):
        (tmp_path / name).touch()
    found = find("s", str(tmp_path / "**" / "*.*"))
    assert [path.name for path in found] == ["a.csv", "b.jsonl", "c.txt"]


def test_a_set_without_files_or_with_files_of_another_kind_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"rules\.decontaminate\.sets\.quiz: no file is found by '.*none\*'"):
        find("quiz", str(tmp_path / "none*"))
    for name in ("a.parquet", "plain", "b.gz"):
        (tmp_path / name).touch()
        with pytest.raises(
            DataError, match=rf"sets\.quiz: .*{name} is not of a kind that has rows, expected one of .jsonl"
        ):
            find("quiz", str(tmp_path / name))


def test_a_broken_row_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.jsonl line 2: is not JSON"):
        list(read_rows(write(tmp_path / "a.jsonl", '"x"\n{\n')))
    with pytest.raises(DataError, match=r"a\.csv line 2: is not a table"):
        list(read_rows(write(tmp_path / "a.csv", f"x\n{'y' * 200_000}\n")))


def test_bytes_that_are_not_text_do_no_harm(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a\xff,b\n")
    (tmp_path / "a.txt").write_bytes(b"\xff\x00")
    assert list(read_rows(tmp_path / "a.csv")) == [Row(1, ["a\ufffd", "b"])]
    assert list(read_rows(tmp_path / "a.txt")) == [Row(1, ["\ufffd\0"])]
