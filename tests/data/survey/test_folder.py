"""What a folder holds as sources of a recipe: the build reads exactly the files that were counted."""

import json
from pathlib import Path

import pytest

from puna.config.data import Source
from puna.core.errors import DataError
from puna.data.input.sources import list_files
from puna.data.survey import kinds
from puna.data.survey.folder import ONE_DOCUMENT, Found, escape, evenly, look_at
from puna.shards.split import is_heldout

TEXT = "A page with some words that mean little.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Text, code and rows in two columns, with what no reader reads between them."""
    root = tmp_path / "mine"
    for number in range(12):
        write(root / "pages" / f"{number:02}.txt", TEXT * (number + 1))
        write(root / "code" / f"{number:02}.py", f"def f{number}():\n    return {number}\n")
        write(root / "rows" / f"{number:02}.jsonl", json.dumps({"body": TEXT, "id": number}) + "\n")
    for number in range(3):
        write(root / "rows" / f"other[{number}].jsonl", json.dumps({"story": TEXT}) + "\n")
    write(root / "table.csv", "a,b\n1,2\n")
    write(root / "empty.txt", "")
    write(root / ".git" / "config.txt", TEXT)
    write(root / "node_modules" / "x.txt", TEXT)
    (root / "link.txt").symlink_to(root / "pages" / "00.txt")
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def source_of(found: Found, root: Path) -> Source:
    rows = {"text_field": found.text_field} if found.text_field else {}
    return Source(
        path=str(root), include=found.include, exclude=found.exclude, format=found.format,
        heldout_fraction=found.heldout_fraction, **rows,
    )  # fmt: skip


def test_each_kind_of_file_is_a_source_that_reads_its_files_and_no_others(folder: Path) -> None:
    survey = look_at(folder)
    assert {(found.format, found.text_field): len(found.files) for found in survey.sources} == {
        ("text", ""): 12, ("code", ""): 12, ("jsonl", "body"): 12, ("jsonl", "story"): 3,
    }  # fmt: skip
    for found in survey.sources:
        listed = list_files(found.name, source_of(found, folder))
        wanted = {file.name for file in found.files}
        assert {file.name for file in listed if file.size} == wanted
        assert found.amount.documents == len(wanted)
    assert survey.left_out == {kinds.EMPTY: ["empty.txt"], kinds.TABLE: ["table.csv"]}


def test_largest_source_comes_first_and_names_differ(folder: Path) -> None:
    names = [found.name for found in look_at(folder).sources]
    assert names[0] == "text"
    assert set(names) == {"text", "code", "jsonl", "jsonl-2"}


def test_some_of_few_documents_are_held_out_and_not_all(tmp_path: Path) -> None:
    for count in (2, 3, 7, 30):
        root = tmp_path / str(count)
        for number in range(count):
            write(root / f"{number}.txt", f"{TEXT}{number}")
        (found,) = look_at(root).sources
        source = source_of(found, root)
        assert 0 < sum(is_heldout(source, found.name, file.name) for file in found.files) < count


def test_rows_without_text_are_left_out_with_the_columns_that_are_there(folder: Path) -> None:
    write(folder / "numbers.jsonl", '{"a": 1, "b": "x"}\n')
    assert any("there are: a, b" in reason for reason in look_at(folder).left_out)


def test_one_file_is_looked_at_alone(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", "".join(json.dumps({"text": TEXT}) + "\n" for _ in range(9)))
    write(tmp_path / "page.txt", TEXT)
    (found,) = look_at(tmp_path, "rows.jsonl").sources
    assert (found.format, found.amount.documents) == ("jsonl", 9)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "has no files"),
        ({"a.csv": "a,b\n"}, "has no text that Puna reads: 1 x tables of comma"),
        ({"book.txt": TEXT}, f"book.txt is {ONE_DOCUMENT}"),
    ],
)
def test_folder_without_text_is_a_sentence(tmp_path: Path, files: dict[str, str], sentence: str) -> None:
    for name, text in files.items():
        write(tmp_path / name, text)
    with pytest.raises(DataError) as caught:
        look_at(tmp_path)
    assert sentence in str(caught.value)
    assert caught.value.hint


def test_evenly_spread_files_are_in_order_and_names_are_patterns_of_themselves() -> None:
    many = list(range(100))
    assert evenly(many, 4) == [0, 25, 50, 75]  # type: ignore[arg-type,type-var]
    assert evenly(many[:3], 4) == [0, 1, 2]  # type: ignore[arg-type,type-var]
    assert escape("a[1]*?.txt") == "a[[]1][*][?].txt"
