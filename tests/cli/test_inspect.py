"""`puna data inspect`: documents printed where stdout is not a terminal, paged through where it is one."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from puna.core.files import sha256_file, write_json
from puna.core.layout import DataDir
from puna.core.records import Record
from puna.data.document_files import LinesWriter

HOSTILE = "\x1b]0;owned\x07\x9b31m"
DROPPED = [
    {"id": "twice.txt", "reason": "duplicate", "detail": "prose/0.txt"},
    {"id": "short.txt", "reason": "c4.few_sentences", "detail": "2 sentences, at least 5"},
]


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A source of twelve documents, one of them long and hostile, and two that were dropped without their texts."""
    return _build(tmp_path / "build", DROPPED, keep_dropped=False)


def _build(root: Path, dropped: list[dict[str, str]], *, keep_dropped: bool) -> Path:
    documents = DataDir(root).documents
    kept = [{"id": f"{n}.txt", "origin": f"shelf: {n}.txt", "text": f"Text {n}", "language": "en"} for n in range(12)]
    kept[1]["text"] = HOSTILE + "word " * 1000
    files = {"train": kept, "heldout": [], "dropped": dropped}
    listing: dict[str, Any] = {"prose": {}}
    for kind, rows in files.items():
        path = f"prose/{kind}/00000.jsonl.zst"
        with LinesWriter(documents / path) as file:
            for row in rows:
                file.write(row)
        listing["prose"][kind] = [{"path": path, "sha256": "", "bytes": 0, "made_by": ""}]
    write_json(documents / "files.json", listing)
    record = Record("documents", config={"keep_dropped": keep_dropped})
    record.outputs = {"files.json": sha256_file(documents / "files.json")}
    reasons = {row["reason"]: {"documents": 1, "bytes": 0} for row in dropped}
    record.results = {"prose": {"steps": {"read": {"dropped": reasons}}}}
    record.write(documents / "record.json")
    return root


def puna(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, where torch is not installed."""
    code = "import sys; sys.modules['torch'] = None; import puna.cli; puna.cli.main()"
    command = [sys.executable, "-c", code, "data", "inspect", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_kept_and_dropped_documents_are_printed_by_turns(build: Path):
    done = puna(build)
    assert done.returncode == 0, done.stderr
    titles = re.findall(r"^=== (.*)", done.stdout, re.MULTILINE)
    assert titles[:5] == [
        "kept: prose/0.txt (train)", "dropped: prose/twice.txt", "kept: prose/1.txt (train)",
        "dropped: prose/short.txt", "kept: prose/2.txt (train)",
    ]  # fmt: skip
    assert len(titles) == 14
    assert "duplicate: Its text equals that of a document which was kept.\nprose/0.txt\n" in done.stdout
    assert "shelf: 0.txt\nen\n\nText 0\n" in done.stdout


def test_texts_that_were_not_kept_are_missed_with_what_keeps_them(build: Path, tmp_path: Path):
    assert "build with data.keep_dropped = true" in puna(build, "--dropped").stdout
    kept = _build(tmp_path / "other", [DROPPED[0], DROPPED[1] | {"text": "Too short."}], keep_dropped=True)
    text = puna(kept, "--dropped").stdout
    assert "keep_dropped" not in text
    assert "There was no text to keep" in text
    assert "2 sentences, at least 5\n\nToo short.\n" in text


def test_text_is_cut_and_cannot_command_a_terminal_but_json_has_it_whole(build: Path):
    text = puna(build, "--kept").stdout
    assert not {"\x1b", "\x07", "\x9b"} & set(text)
    assert f"\n… {len(HOSTILE) + 5000 - 2000:,} characters more\n" in text
    lines = [json.loads(line) for line in puna(build, "--json").stdout.splitlines()]
    assert [line["kept"] for line in lines] == [True, False, True, False, *[True] * 10]
    assert lines[0] == {
        "kept": True, "source": "prose", "split": "train", "id": "0.txt", "origin": "shelf: 0.txt", "text": "Text 0",
        "language": "en",
    }  # fmt: skip
    assert lines[2]["text"] == HOSTILE + "word " * 1000
    assert lines[1]["reason"] == "duplicate"
    assert lines[1]["explanation"] == "Its text equals that of a document which was kept."


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_another_encoding_shows_what_it_can(build: Path, encoding: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done = puna(build, "--kept")
    assert done.returncode == 0, done.stderr
    assert "\\u2026 " in done.stdout
    assert all(json.loads(line)["kept"] for line in puna(build, "--kept", "--json").stdout.splitlines())


def test_choices_leave_what_they_say(build: Path):
    def ids(*options: str) -> list[str]:
        return [json.loads(line)["id"] for line in puna(build, "--json", *options).stdout.splitlines()]

    assert ids("--dropped") == ["twice.txt", "short.txt"]
    assert ids("--dropped", "--reason", "duplicate") == ids("--reason", "duplicate") == ["twice.txt"]
    assert re.findall("^=== (.*)", puna(build, "--reason", "duplicate").stdout) == ["dropped: prose/twice.txt"]
    assert ids("--grep", "TEXT 3") == ["3.txt"]
    assert ids("--source", "prose", "--grep", "sentences") == ["short.txt"]
    first, again, other = (ids("--kept", "--sample", "3", "--seed", seed) for seed in ("1", "1", "2"))
    assert first == again != other
    assert len(first) == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--reason", "empty"],
            r"--reason empty: no document of prose was dropped for it\n.*c4.few_sentences \(1\), dup",
        ),
        (["--source", "code"], "has no source 'code', but prose"),
        (["--reason", "duplicate", "--kept"], "--reason chooses among dropped documents, but --kept leaves them out"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(build: Path, options: list[str], sentence: str):
    done = puna(build, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(sentence, done.stderr), done.stderr


def test_a_directory_without_a_build_is_one_sentence(tmp_path: Path):
    done = puna(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no documents are here" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_not_an_error(build: Path):
    code = "import puna.cli; puna.cli.main()"
    command = [sys.executable, "-u", "-c", code, "data", "inspect", str(build), "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    # Click's code for it, without a word.
    assert (done.returncode, done.stderr) == (1, b"")


class _Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (30, 100))
        self.before = termios.tcgetattr(self.slave)
        # A job in the background, as tests may be, is started with interrupts switched off.
        interrupts = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        code = f"{interrupts}; import puna.cli; puna.cli.main()"
        command = [sys.executable, "-c", code, "data", "inspect", *arguments]
        environment = os.environ | {"TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            command, stdin=self.slave, stdout=self.slave, stderr=self.slave, env=environment, start_new_session=True
        )
        self.output = ""

    def wait_for(self, text: str) -> None:
        """Read until the terminal has been sent a text."""
        end = time.monotonic() + 600
        seen = len(self.output)
        while text not in self.output[seen:]:
            assert time.monotonic() < end, self.output[seen:]
            self._read()

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """The exit code; the terminal must be as it was."""
        code = self.process.wait(timeout=300)
        while self._read():
            pass
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)
        return code

    def _read(self) -> bool:
        ready = bool(select.select([self.master], [], [], 0.3)[0])
        if ready:
            self.output += os.read(self.master, 65536).decode(errors="replace")
        return ready


def test_keys_turn_pages_and_quitting_leaves_the_terminal_clean(build: Path):
    terminal = _Terminal(str(build))
    terminal.wait_for("q quit")
    assert "\x1b[?1049h" in terminal.output
    assert "kept 1" in terminal.output
    assert "dropped 1" in terminal.output
    terminal.press("n")
    terminal.wait_for("dropped 2")
    terminal.press("kr")
    terminal.wait_for("dropped, c4.few_sentences 1")
    terminal.press("q")
    assert terminal.end() == 0
    assert "\x1b[?1049l" in terminal.output
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")
    assert "owned" in terminal.output
    assert "\x1b]0;" not in terminal.output


def test_an_interrupt_leaves_the_terminal_clean(build: Path):
    terminal = _Terminal(str(build), "--dropped")
    terminal.wait_for("q quit")
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.end() == 130
    assert "\x1b[?1049l" in terminal.output
    assert "Traceback" not in terminal.output
