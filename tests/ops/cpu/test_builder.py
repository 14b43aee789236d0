"""A library is compiled once for all processes, and whatever keeps it from being made is said in a clause."""

import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from puna.ops.cpu import builder
from puna.ops.cpu.builder import BuildError, build, find_compiler

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")
OPTIONS = ("-fPIC", "-shared")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A library of one function."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "answer.cpp").write_text('#include "answer.h"\nextern "C" int answer() { return ANSWER; }\n')
    (folder / "answer.h").write_text("#define ANSWER 42\n")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "puna" / "operators"


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a script in the compiler's place; it runs when something is compiled, not when its version is asked."""

    def put(script: str) -> None:
        path = tmp_path / "c++"
        path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo 1; exit; fi\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setattr(builder, "find_compiler", lambda: str(path))

    return put


@needs_compiler
def test_a_library_is_compiled_once_and_found_again(sources: Path, cache: Path, compiler: Callable[[str], None]):
    compiler(f'echo >> "{sources}/../compiled"; exec {find_compiler()} "$@"')
    assert build(sources, OPTIONS).answer() == build(sources, OPTIONS).answer() == 42
    assert len((sources.parent / "compiled").read_text().splitlines()) == 1
    assert len(list(cache.iterdir())) == 1


@needs_compiler
@pytest.mark.parametrize("changed", ["answer.cpp", "answer.h"])
def test_another_source_or_header_is_another_library(sources: Path, cache: Path, changed: str):
    build(sources, OPTIONS)
    path = sources / changed
    path.write_text(path.read_text().replace("ANSWER; }", "ANSWER + 1; }").replace("42", "43"))
    assert build(sources, OPTIONS).answer() == 43
    build(sources, (*OPTIONS, "-O1"))
    assert len(list(cache.iterdir())) == 3


@needs_compiler
def test_two_that_compile_at_once_both_get_a_whole_library(
    sources: Path, cache: Path, compiler: Callable[[str], None], tmp_path: Path
):
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    both = f'touch "{arrived}/$$"; while [ $(ls "{arrived}" | wc -l) -lt 2 ]; do :; done'
    compiler(f'{both}; exec {find_compiler()} "$@"')
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(build(sources, OPTIONS).answer())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [42, 42]
    assert len(list(arrived.iterdir())) == 2
    assert len(list(cache.iterdir())) == 1


@needs_compiler
def test_a_cache_that_cannot_be_written_is_said_and_the_library_lives_in_memory(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert build(sources, OPTIONS).answer() == 42
    assert "operators: cannot be written" in capsys.readouterr().err
    assert list(temporary.iterdir()) == []


@needs_compiler
def test_a_kept_library_that_is_damaged_is_compiled_again(sources: Path, cache: Path):
    kept = builder._kept(sources, find_compiler() or "", OPTIONS)
    cache.mkdir(parents=True)
    kept.write_bytes(b"not a library")
    assert build(sources, OPTIONS).answer() == 42
    assert kept.read_bytes()[:4] == b"\x7fELF"


def test_a_machine_without_a_compiler_is_told_where_one_was_looked_for(
    sources: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(BuildError, match=r"^no C\+\+ compiler was found \(\$CXX, g\+\+, clang\+\+\)$"):
        build(sources, OPTIONS)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo no such header >&2; exit 1", "could not compile Puna's operators for CPUs: no such header"),
        ('while [ "$1" != -o ]; do shift; done; echo text > "$2"', "could not compile .*: .*file too short"),
        ("exit 0", "could not compile .*: .*No such file"),
    ],
    ids=["fails", "writes no library", "writes nothing"],
)
def test_a_broken_compiler_leaves_nothing(
    sources: Path, cache: Path, compiler: Callable[[str], None], script: str, says: str
):
    compiler(script)
    with pytest.raises(BuildError, match=says):
        build(sources, OPTIONS)
    assert list(cache.iterdir()) == []


@needs_compiler
def test_the_compiler_of_the_environment_may_have_arguments(
    sources: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.delenv("CXX", raising=False)
    usual = str(find_compiler())
    monkeypatch.setenv("CXX", f"{usual} -DMORE=1")
    assert find_compiler() == f"{usual} -DMORE=1"
    assert build(sources, OPTIONS).answer() == 42
    monkeypatch.setenv("CXX", f"{usual} -DMORE=2")
    build(sources, OPTIONS)
    assert len(list(cache.iterdir())) == 2
    spaced = tmp_path / "a directory" / "c++"
    spaced.parent.mkdir()
    spaced.symlink_to(usual)
    monkeypatch.setenv("CXX", str(spaced))
    assert build(sources, OPTIONS).answer() == 42
    for other in ("not-there -x", '"', ""):
        monkeypatch.setenv("CXX", other)
        assert find_compiler() == usual


def test_what_a_compiler_that_takes_too_long_has_started_ends_with_it(
    sources: Path, cache: Path, compiler: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(builder, "COMPILE_SECONDS", 0.5)
    os.mkfifo(tmp_path / "alive")
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    compiler(f'exec 3> "{tmp_path}/alive"; echo begun >&3; cat /dev/zero > /dev/null & wait')
    with pytest.raises(BuildError, match="did not end"):
        build(sources, OPTIONS)
    # The pipe ends when nobody is left who could write into it; nothing else lets this wait end early.
    while (ready := select.select([reader], [], [], 30)[0]) and os.read(reader, 100):
        pass
    os.close(reader)
    assert ready


def test_a_compiler_that_takes_too_long_is_ended(
    sources: Path, cache: Path, compiler: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(builder, "COMPILE_SECONDS", 0.01)
    compiler("exec cat /dev/zero")
    with pytest.raises(BuildError, match=r"did not end within 0\.01 s"):
        build(sources, OPTIONS)
    assert list(cache.iterdir()) == []
