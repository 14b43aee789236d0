from pathlib import Path

import pytest

from puna.core.errors import FormatError
from puna.formats.cache import snapshot_of


def cache(tmp_path: Path, *commits: str, main: str | None = None) -> Path:
    root = tmp_path / "models--meta-llama--Llama-2-7b-hf"
    (root / "snapshots").mkdir(parents=True)
    for commit in commits:
        (root / "snapshots" / commit).mkdir()
    if main is not None:
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text(main)
    return root


@pytest.mark.parametrize(
    ("commits", "main", "chosen"),
    [
        (("a1",), "a1", "a1"),
        (("a1",), None, "a1"),
        (("a1",), "gone", "a1"),
        (("a1", "b2"), "b2", "b2"),
        (("a1", "b2"), "a1\n", "a1"),
    ],
)
def test_a_repository_is_its_snapshot(tmp_path: Path, commits: tuple[str], main: str | None, chosen: str) -> None:
    root = cache(tmp_path, *commits, main=main)
    assert snapshot_of(root) == root / "snapshots" / chosen


@pytest.mark.parametrize(
    ("commits", "main", "sentence"),
    [
        ((), "a1", "is a repository in a cache with no snapshot"),
        (("a1", "b2"), None, r"2 snapshots \(a1, b2\), and refs/main names none of them"),
        (("a1", "b2"), "../..", r"2 snapshots \(a1, b2\)"),
        (("a1", "b2"), "x" * 500, "has 500 bytes, more than the 200"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, commits: tuple[str], main: str | None, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        snapshot_of(cache(tmp_path, *commits, main=main))


def test_every_other_path_is_itself(tmp_path: Path) -> None:
    root = cache(tmp_path, "a1", "b2")
    (tmp_path / "snapshots").mkdir()
    for path in (tmp_path, root / "snapshots" / "a1", root / "snapshots", tmp_path / "models--absent"):
        assert snapshot_of(path) == path
