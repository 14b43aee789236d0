"""Files that change between the listing and the end of reading are noticed, whatever they are, however they change."""

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from puna.config.data import Source
from puna.data import input_file
from puna.data.input_file import ChangedFileError, InputFile, stamp_of
from puna.data.stages.cleaning import make_reader

ROWS = [f"Row {number} of the file, with enough words to be one." for number in range(20_000)]
LINES = "".join(f'{{"text": "{row}"}}\n' for row in ROWS).encode()


def _tar() -> bytes:
    with tarfile.open(fileobj=(content := io.BytesIO()), mode="w") as archive:
        for number in range(2000):
            info = tarfile.TarInfo(f"{number}.txt")
            info.size = 400
            archive.addfile(info, io.BytesIO(b"a" * 400))
    return content.getvalue()


def _zip() -> bytes:
    with zipfile.ZipFile(content := io.BytesIO(), "w") as archive:
        for number in range(2000):
            archive.writestr(f"{number}.txt", "a" * 400)
    return content.getvalue()


def _columns(kind: str) -> bytes:
    table, content = pyarrow.table({"text": ROWS}), io.BytesIO()
    if kind == "parquet":
        pyarrow.parquet.write_table(table, content, row_group_size=1000, compression="none")
    else:
        with pyarrow.ipc.new_stream(content, table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)
    return content.getvalue()


FILES: dict[str, tuple[str, bytes]] = {
    "plain": ("jsonl", LINES),
    "gzip": ("jsonl", gzip.compress(LINES, 0)),
    "tar": ("text", _tar()),
    "zip": ("text", _zip()),
    "parquet": ("parquet", _columns("parquet")),
    "arrow": ("arrow", _columns("arrow")),
}


def _shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n{}")


def _write_over(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b" ")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # the clock of a file system may be slower than this test


def _replace_in_place(path: Path) -> None:
    path.write_bytes(b"")
    path.write_bytes(b'{"text": "Another file."}\n')


SIZE, TIME = "it had [0-9,]+ bytes when it was listed and has [0-9,]+ now", "it was written to after it was listed"
CHANGES: list[tuple[Callable[[Path], None], str]] = [
    (_shrink, SIZE), (_grow, SIZE), (_write_over, TIME), (_replace_in_place, SIZE),
]  # fmt: skip


def listed(path: Path) -> InputFile:
    status = path.stat()
    return InputFile(str(path), path.name, status.st_size, str(status.st_mtime_ns))


def read(file: InputFile, form: str, after_first: Callable[[], None] = lambda: None) -> tuple[int, list[Exception]]:
    """How many records a reader finds, and the errors that were reported; `after_first` is called after the first."""
    source = Source.model_validate({"path": "x", "include": ["*"], "heldout_fraction": 0.1, "format": form})
    failures: list[Exception] = []
    count = 0
    for _ in make_reader("s", source, 10**6).records(file.watched(lambda _: None, failures.append)):
        if not count:
            after_first()
        count += 1
    return count, failures


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_stays_as_it_was_listed_is_read_whole_without_a_word(tmp_path: Path, kind: str):
    form, content = FILES[kind]
    (path := tmp_path / "f").write_bytes(content)
    assert read(listed(path), form) == (20_000 if form != "text" else 2000, [])


@pytest.mark.parametrize(("change", "sentence"), CHANGES)
@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path, kind: str, change: Any, sentence: str):
    form, content = FILES[kind]
    (path := tmp_path / "f").write_bytes(content)
    _, failures = read(listed(path), form, lambda: change(path))
    assert any(isinstance(failure, ChangedFileError) for failure in failures)
    with pytest.raises(ChangedFileError, match=sentence):
        raise next(failure for failure in failures if isinstance(failure, ChangedFileError))


@pytest.mark.parametrize(("change", "sentence"), CHANGES)
@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_has_changed_before_it_is_opened_is_noticed(tmp_path: Path, kind: str, change: Any, sentence: str):
    form, content = FILES[kind]
    (path := tmp_path / "f").write_bytes(content)
    file = listed(path)
    change(path)
    _, failures = read(file, form)
    with pytest.raises(ChangedFileError, match=sentence):
        raise failures[0]


def test_a_file_that_is_deleted_or_replaced_by_name_while_it_is_open_is_read_as_it_was(tmp_path: Path):
    for change in (Path.unlink, lambda path: (tmp_path / "other").rename(path)):
        (path := tmp_path / "f").write_bytes(LINES)
        (tmp_path / "other").write_bytes(b"")
        assert read(listed(path), "jsonl", lambda path=path, change=change: change(path)) == (20_000, [])


def test_a_file_that_is_gone_before_it_is_opened_is_reported(tmp_path: Path):
    (path := tmp_path / "f").write_bytes(LINES)
    file = listed(path)
    path.unlink()
    _, (failure,) = read(file, "jsonl")
    assert isinstance(failure, FileNotFoundError)


class _Store:
    """An object store with one object, that says of it what it is told to."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)

    def open(self) -> Any:
        return self

    @property
    def fs(self) -> Any:
        return self

    path = "f"
    blocksize = 0

    def readinto(self, buffer: Any) -> int:
        return 0

    def invalidate_cache(self) -> None:
        pass

    def close(self) -> None:
        pass

    def info(self, path: str) -> dict[str, Any]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


LISTED = {"size": 5, "ETag": '"abc"'}


@pytest.mark.parametrize(
    ("before", "answers", "sentence"),
    [
        (LISTED, [LISTED], ""),
        (LISTED, [{"size": 5, "etag": 'W/"abc"'}], ""),  # stores write it in several ways
        (LISTED, [{"size": 6, "ETag": '"abc"'}], "it had 5 bytes when it was listed and has 6 now"),
        (LISTED, [{"size": 5, "ETag": '"xyz"'}], "it was replaced after it was listed"),
        (LISTED, [LISTED, {"size": 5, "ETag": '"xyz"'}], "it was replaced after it was listed"),
        ({"size": 5, "mtime": 17.5}, [{"size": 5, "mtime": 18.0, "ETag": "x"}], ""),  # a time proves nothing
        ({"size": 5, "LastModified": "2024-01-01 00:00:00+00:00"}, [{"size": 5, "ETag": "x"}], ""),
        ({"size": None}, [{"size": 7}], ""),  # a web server may list names alone
        ({"size": 5}, [{"size": None}], ""),
        ({"size": 5, "sha256": "a"}, [{"size": 5, "sha256": "b"}], "it was replaced after it was listed"),
    ],
)
def test_an_object_is_compared_by_its_size_and_its_version(
    monkeypatch: pytest.MonkeyPatch, before: dict, answers: list[dict], sentence: str
):
    import fsspec

    monkeypatch.setattr(fsspec, "open", lambda url, mode: _Store(*answers))
    file = InputFile("store://f", "f", before["size"] or 0, stamp_of(before))
    failures: list[Exception] = []
    with suppress(ChangedFileError):
        file.watched(lambda _: None, failures.append).open().close()
    assert [str(failure) for failure in failures] == ([sentence] if sentence else [])


def test_what_nobody_watches_is_not_compared(tmp_path: Path):
    (path := tmp_path / "f").write_bytes(b"text")
    with InputFile(str(path), "f", 0, "another").open() as stream:
        assert stream.read() == b"text"
    assert input_file.stamp_of({}) == ""
