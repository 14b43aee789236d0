import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.evaluate import cache as caching
from puna.evaluate.cache import TokenCache, digest_of
from puna.evaluate.joining import Joined

IDS = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5).map(tuple)
JOINED = st.builds(
    Joined, pairs=st.lists(st.tuples(IDS, IDS), max_size=3).map(tuple), cut=st.integers(0, 9000), moved=st.booleans()
)
DOCUMENTS = st.dictionaries(st.text().map(lambda text: digest_of([text])), st.lists(JOINED, max_size=4).map(tuple))
ONE = (Joined(pairs=(((1, 2), (3,)), ((1, 2), (4, 5))), cut=7, moved=True), Joined(pairs=()))


@given(documents=DOCUMENTS)
def test_what_was_saved_is_known_again(
    documents: dict[bytes, tuple[Joined, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cache") / "task.ids"
    cache = TokenCache(path)
    for digest, joined in documents.items():
        cache.add(digest, joined)
    cache.save()
    again = TokenCache(path)
    assert len(again) == len(documents)
    assert all(again.get(digest) == joined for digest, joined in documents.items())
    assert again.get(digest_of(["another"] * 3)) is None


def test_what_is_added_later_stands_beside_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "task.ids"
    for text in ("a", "b"):
        cache = TokenCache(path)
        cache.add(digest_of([text]), ONE)
        cache.save()
    written = path.stat().st_mtime_ns
    again = TokenCache(path)
    assert [again.get(digest_of([text])) for text in "ab"] == [ONE, ONE]
    os.utime(path, ns=(written - 10**9, written - 10**9))
    content = path.read_bytes()
    again.save()  # nothing was added, so nothing is written
    assert path.read_bytes() == content
    assert path.stat().st_mtime_ns == written - 10**9


def saved(path: Path) -> bytes:
    cache = TokenCache(path)
    cache.add(digest_of(["text"]), ONE)
    cache.save()
    return path.read_bytes()


@given(data=st.data())
def test_a_damaged_file_is_passed_over(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cache") / "task.ids"
    content = saved(path)
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    path.write_bytes(content[:place] + bytes([byte]) + content[place + 1 :])
    assert TokenCache(path).get(digest_of(["text"])) in (None, ONE)  # what changes no meaning may be read
    path.write_bytes(content[:place])
    assert len(TokenCache(path)) == 0


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"[]\n", b"{}\n", b"7\n", b"[" * 100_000, json.dumps({"kind": "x"}).encode() + b"\n"]
)
def test_a_file_of_another_kind_is_passed_over_and_written_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "task.ids"
    path.write_bytes(content)
    assert len(TokenCache(path)) == 0
    saved(path)
    assert TokenCache(path).get(digest_of(["text"])) == ONE


def test_texts_that_are_divided_differently_have_another_hash() -> None:
    assert len({digest_of(texts) for texts in (["ab"], ["a", "b"], ["", "ab"], ["ab", ""], [])}) == 5


def test_a_place_that_cannot_be_written_is_said_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a directory")
    cache = TokenCache(tmp_path / "file" / "task.ids")
    cache.add(digest_of(["text"]), ONE)
    cache.save()
    assert "token ids are not kept" in capsys.readouterr().err


def test_the_longest_unused_files_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(saved(tmp_path / "0.ids"))
    for number in range(1, 4):
        saved(tmp_path / f"{number}.ids")
    for number, age in enumerate((30, 10, 20, 40)):
        os.utime(tmp_path / f"{number}.ids", (1_000_000 - age, 1_000_000 - age))
    TokenCache(tmp_path / "3.ids")  # used now
    monkeypatch.setattr(caching, "MOST_BYTES", 3 * size)
    saved(tmp_path / "4.ids")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.ids", "3.ids", "4.ids"]
