"""What a folder holds as sources of a recipe: the build reads exactly the files that were counted."""

import gzip
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from puna.config.data import Source
from puna.core.errors import DataError
from puna.data.input.sources import list_files
from puna.data.survey import folder as survey
from puna.data.survey import kinds
from puna.data.survey.amount import evenly
from puna.data.survey.folder import LINK, LITTLE, LOCKED, ONE_DOCUMENT, OWN, Found, look_at
from puna.shards.split import is_heldout

TEXT = "A page with some words that mean little.\n"


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources of a few bytes are enough; whether they are is a test of its own."""
    monkeypatch.setattr(survey, "_LEAST", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Text, code and rows in two columns, with what no reader reads between them."""
    root = tmp_path / "mine"
    for number in range(12):
        write(root / "pages" / f"{number:02}.txt", TEXT * (number + 9))
        write(root / "code" / f"{number:02}.py", f"def f{number}():\n    return {number}\n")
        write(root / "rows" / f"{number:02}.jsonl", json.dumps({"body": f"{number} {TEXT}", "id": number}) + "\n")
    for number in range(3):
        write(root / "rows" / f"other[{number}].jsonl", json.dumps({"story": f"{number} of a story. {TEXT}"}) + "\n")
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
        heldout_fraction=found.heldout_fraction, heldout_pattern=found.heldout_pattern, **rows,
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
    assert survey.left_out == {kinds.EMPTY: ["empty.txt"], kinds.TABLE: ["table.csv"], LINK: ["link.txt"]}


def test_largest_source_comes_first_and_names_differ(folder: Path) -> None:
    names = [found.name for found in look_at(folder).sources]
    assert names[0] == "text"
    assert set(names) == {"text", "code", "jsonl", "jsonl-2"}


def test_some_of_few_documents_are_held_out_and_not_all(tmp_path: Path) -> None:
    for count in (2, 3, 7, 30):
        root = tmp_path / str(count)
        for number in range(count):
            write(root / f"{number}.txt", f"{TEXT}{number}" * 40)
        (found,) = look_at(root).sources
        source = source_of(found, root)
        assert 0 < sum(is_heldout(source, found.name, file.name) for file in found.files) < count


def test_of_two_books_the_smaller_one_is_held_out(tmp_path: Path) -> None:
    for large in (0, 1):
        root = tmp_path / str(large)
        for number in range(2):
            write(root / f"[{number}] book.txt", f"{number} {TEXT}" * (90 if number == large else 40))
        (found,) = look_at(root).sources
        source = source_of(found, root)
        kept = [file.name for file in found.files if not is_heldout(source, found.name, file.name)]
        assert kept == [f"[{large}] book.txt"]
        assert found.training_bytes == found.amount.sizes[kept[0]]


def test_rows_without_text_are_left_out_with_the_columns_that_are_there(folder: Path) -> None:
    write(folder / "numbers.jsonl", '{"a": 1, "b": "x"}\n')
    assert any("there are: a, b" in reason for reason in look_at(folder).left_out)


def test_one_file_is_looked_at_alone(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", "".join(json.dumps({"text": f"{n} {TEXT * 9}"}) + "\n" for n in range(9)))
    write(tmp_path / "page.txt", TEXT)
    (found,) = look_at(tmp_path, "rows.jsonl").sources
    assert (found.format, found.amount.documents) == ("jsonl", 9)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "has no files"),
        ({"a.csv": "a,b\n"}, "has no text that Puna reads: 1 x tables of comma"),
        ({"book.txt": TEXT}, f"book.txt: is {ONE_DOCUMENT}"),
    ],
)
def test_folder_without_text_is_a_sentence(tmp_path: Path, files: dict[str, str], sentence: str) -> None:
    for name, text in files.items():
        write(tmp_path / name, text)
    with pytest.raises(DataError) as caught:
        look_at(tmp_path)
    assert sentence in str(caught.value)
    assert caught.value.hint


def build_lists(root: Path, **options: str) -> dict[str, set[str]]:
    """The files that a build reads for each source."""
    found = look_at(root, **options).sources
    return {source.name: {file.name for file in list_files(source.name, source_of(source, root))} for source in found}


def test_kinds_of_one_document_each_join_where_one_reader_reads_both(tmp_path: Path) -> None:
    book = "The Title\n\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\n" + "Words of a book.\n" * 99
    write(tmp_path / "books" / "a.txt", TEXT * 90)
    write(tmp_path / "books" / "b.txt", book)
    assert build_lists(tmp_path / "books") == {"gutenberg": {"a.txt", "b.txt"}}
    write(tmp_path / "project" / "README.md", TEXT * 50)
    for number in range(3):
        write(tmp_path / "project" / f"{number}.py", f"x = {number}\n" * 200)
    assert build_lists(tmp_path / "project") == {"code": {"README.md", "0.py", "1.py", "2.py"}}
    write(tmp_path / "notes" / "a.txt", TEXT * 50)
    write(tmp_path / "notes" / "b.py", "x = 1\n" * 200)
    assert build_lists(tmp_path / "notes") == {"text": {"a.txt", "b.py"}}


def test_file_that_is_named_is_read_alone_also_beside_others_of_its_kind(tmp_path: Path) -> None:
    for name in ("[1].jsonl", "2.jsonl"):
        write(tmp_path / name, "".join(json.dumps({"text": f"{name} {n} {TEXT * 9}"}) + "\n" for n in range(9)))
    assert build_lists(tmp_path, only="[1].jsonl") == {"jsonl": {"[1].jsonl"}}


def test_rows_that_no_source_reads_are_excluded_because_a_build_would_refuse_their_columns(folder: Path) -> None:
    write(folder / "a_numbers.jsonl", '{"a": 1}\n')
    assert "a_numbers.jsonl" not in set().union(*build_lists(folder).values())


def test_names_that_are_not_utf8_are_read_as_any_others(tmp_path: Path) -> None:
    for number in range(3):
        with open(os.fsencode(tmp_path) + b"/caf\xe9%d" % number, "w") as file:
            file.write(f"{number} {TEXT * 40}")
    assert build_lists(tmp_path) == {"text": {f"caf\\udce9{number}" for number in range(3)}}


def test_copies_of_a_text_are_held_out_together_and_what_stays_is_what_a_build_trains_on(tmp_path: Path) -> None:
    for number in range(60):
        write(tmp_path / f"{number}.txt", f"{number % 6} {TEXT * 40}")
    (found,) = look_at(tmp_path).sources
    source = source_of(found, tmp_path)
    heldout = {number % 6 for number in range(60) if is_heldout(source, "text", f"{number}.txt")}
    assert 0 < len(heldout) < 6
    assert found.training_bytes == sum(len(f"{number} {TEXT * 40}") for number in range(6) if number not in heldout)


def test_of_very_many_files_few_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(survey, "_LOOKED_AT", 20)
    monkeypatch.setattr(survey, "kind_of", lambda file: opened.append(file.name) or "text")
    for number in range(200):
        write(tmp_path / f"{number // 40}" / f"{number}", f"{number} {TEXT}")
    assert look_at(tmp_path).sources[0].include == ["**/*"]
    assert len(opened) <= 20


def test_directory_that_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        write(tmp_path / f"{number}.txt", f"{number} {TEXT}")
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refuse(place: str) -> object:
        if Path(place).name == "locked":
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    found = look_at(tmp_path)
    assert found.left_out == {LOCKED: ["locked"]}
    assert "locked/**" in found.sources[0].exclude


@pytest.mark.parametrize("name", ["book.txt", "a book.txt.gz"])
def test_command_that_splits_a_book_works_as_it_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text = "".join(f"Line {number} of a book.\n" for number in range(4000)).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="is a single document") as caught:
        look_at(Path("."), name)
    command, then = re.search(r"`(.+) && (puna init .+)`", caught.value.hint or "").groups()  # type: ignore[union-attr]
    subprocess.run(command, shell=True, check=True)
    parts = shlex.split(then)[-1]
    assert sum(len(path.read_bytes()) for path in Path(parts).iterdir()) == len(text)
    assert look_at(Path(parts)).sources[0].amount.documents > 2


def test_too_little_text_to_train_on_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "_LEAST", 2000)
    write(tmp_path / "a.txt", "Hello.")
    write(tmp_path / "b.txt", "Bye.")
    with pytest.raises(DataError, match="bytes of text to train on, at least 2,000 are needed"):
        look_at(tmp_path)
    for number in range(9):
        write(tmp_path / f"{number}.jsonl", json.dumps({"text": f"{number} {TEXT * 99}"}) + "\n")
    assert look_at(tmp_path).left_out == {LITTLE: ["a.txt", "b.txt"]}


def test_what_puna_has_built_in_the_folder_is_left_out(tmp_path: Path) -> None:
    for number in range(9):
        write(tmp_path / f"{number}.txt", f"{number} {TEXT}")
    write(tmp_path / "data" / "x" / "documents" / "a.txt", TEXT)
    write(tmp_path / "data" / "x" / "work" / "a.txt", TEXT)
    write(tmp_path / "runs" / "x" / "config.toml", TEXT)
    write(tmp_path / "runs" / "x" / "metrics.jsonl", "{}")
    assert build_lists(tmp_path) == {"text": {f"{number}.txt" for number in range(9)}}
    assert look_at(tmp_path).left_out == {OWN: ["data/x", "runs/x"]}


def test_evenly_spread_files_are_in_order() -> None:
    many = list(range(100))
    assert evenly(many, 4) == [0, 25, 50, 75]  # type: ignore[arg-type,type-var]
    assert evenly(many[:3], 4) == [0, 1, 2]  # type: ignore[arg-type,type-var]
