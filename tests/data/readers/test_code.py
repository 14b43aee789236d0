import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.config.data import Source
from puna.data.document import BINARY, EMPTY, INVALID_UTF8, TOO_LARGE, UNREADABLE, Document, Dropped, Raw
from puna.data.input_file import InputFile
from puna.data.readers.code import NOT_SOURCE, REASONS, CodeReader
from puna.data.readers.code_rows import BAD_ROW

MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy\n\nThe above copyright notice shall"
GPL = "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007"


def reader(limit: int = 10**6, licence: str = "") -> CodeReader:
    return CodeReader(
        "code", Source(path="x", include=["*"], format="code", licence=licence, heldout_fraction=0.1), limit
    )


def read(path: Path, name: str, limit: int = 10**6, licence: str = "") -> dict[str, Document | Dropped]:
    found = pickle.loads(pickle.dumps(reader(limit, licence)))
    records = list(found.records(InputFile(str(path / name), name, 0, "")))
    verdicts = [found.document(record) if isinstance(record, Raw) else record for record in records]
    assert len({verdict.id for verdict in verdicts}) == len(verdicts)
    return {verdict.id: verdict for verdict in verdicts}


def tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def licences(verdicts: dict[str, Document | Dropped]) -> dict[str, str]:
    return {i: v.licence if isinstance(v, Document) else v.reason for i, v in verdicts.items()}


def test_a_file_in_a_tree_has_the_licence_of_the_nearest_directory(tmp_path: Path) -> None:
    for name, text in {"LICENSE": MIT, "a/b/c.py": "x = 1\n", "a/d/COPYING": GPL, "a/d/e/f.c": "int a;\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (document,) = read(tmp_path, "a/b/c.py").values()
    assert document == Document(
        "code", "a/b/c.py", "x = 1", "a/b/c.py", licence="MIT", language="python", licence_from="LICENSE"
    )
    assert licences(read(tmp_path, "a/d/e/f.c")) == {"a/d/e/f.c": "GPL-3.0"}
    assert licences(read(tmp_path, "LICENSE")) == {"LICENSE": NOT_SOURCE}


def test_the_licence_above_the_root_of_a_source_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text(MIT)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.py").write_text("x = 1")
    assert licences(read(tmp_path / "root", "a.py")) == {"a.py": ""}
    assert licences(read(tmp_path / "root", "a.py", licence="ISC")) == {"a.py": "ISC"}


def test_a_file_under_the_gpl_is_so_in_a_project_under_the_mit_licence(tmp_path: Path) -> None:
    notice = b"/* Under the terms of the GNU General Public License, version 2. */\nint a;"
    tar(tmp_path / "a.tar.gz", {"LICENSE": MIT.encode(), "a.c": notice, "b.c": b"int b;"})
    found = licences(read(tmp_path, "a.tar.gz"))
    assert found == {"a.tar.gz#LICENSE": NOT_SOURCE, "a.tar.gz#a.c": "GPL-2.0", "a.tar.gz#b.c": "MIT"}


def test_in_an_archive_licences_may_stand_behind_the_code(tmp_path: Path) -> None:
    files = {
        "one/src/a.py": b"x = 1",
        "one/LICENSE": MIT.encode(),
        "two/b.py": b"x = 2",
        "two/vendor/c.py": b"# SPDX-License-Identifier: ISC\nx = 3",
        "two/vendor/d.py": b"x = 4",
        "two/COPYING": GPL.encode(),
        "two/vendor/LICENSE": b"of our own",
        "three/e.rs": b"fn e() {}",
        "three/LICENSE-MIT": MIT.encode(),
        "three/LICENSE-APACHE": b"Apache License\nVersion 2.0",
        "f.py": b"x = 5",
        "data.json": b"{}",
    }
    tar(tmp_path / "repos.tar.gz", files)
    assert licences(read(tmp_path, "repos.tar.gz")) == {
        "repos.tar.gz#one/src/a.py": "MIT",
        "repos.tar.gz#one/LICENSE": NOT_SOURCE,
        "repos.tar.gz#two/b.py": "GPL-3.0",
        "repos.tar.gz#two/vendor/c.py": "ISC",
        "repos.tar.gz#two/vendor/d.py": "LicenseRef-Unknown",
        "repos.tar.gz#two/COPYING": NOT_SOURCE,
        "repos.tar.gz#two/vendor/LICENSE": NOT_SOURCE,
        "repos.tar.gz#three/e.rs": "Apache-2.0 OR MIT",
        "repos.tar.gz#three/LICENSE-MIT": NOT_SOURCE,
        "repos.tar.gz#three/LICENSE-APACHE": NOT_SOURCE,
        "repos.tar.gz#f.py": "",
        "repos.tar.gz#data.json": NOT_SOURCE,
    }


def test_archives_in_an_archive_keep_their_own_licences(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, licence in (("a", MIT), ("b", GPL)):
            tar(tmp_path / "inner.tar", {"x.go": b"package x", "LICENSE": licence.encode()}, "w")
            archive.writestr(f"{name}.tar", (tmp_path / "inner.tar").read_bytes())
    assert licences(read(tmp_path, "all.zip")) == {
        "all.zip#a.tar!x.go": "MIT",
        "all.zip#a.tar!LICENSE": NOT_SOURCE,
        "all.zip#b.tar!x.go": "GPL-3.0",
        "all.zip#b.tar!LICENSE": NOT_SOURCE,
    }


def test_rows_have_their_own_names_and_licences(tmp_path: Path) -> None:
    rows = [
        {"content": "package a\n", "path": "src/a.go", "repo_name": "o/r", "license": "mit"},
        {"content": "{}", "path": "package.json", "repo_name": "o/r", "license": "mit"},
        {"content": MIT, "path": "LICENSE.md", "repo_name": "o/r", "license": "mit"},
        {"content": "x", "language": "Zig"},
        {"content": "lone \ud800 surrogate", "path": "a.py"},
        {"nothing": 1},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    go, data, licence, zig, surrogate, bad = read(tmp_path, "rows.jsonl").values()
    assert go == Document("code", "rows.jsonl#0", "package a", "o/r/src/a.go", licence="mit", language="go",
                          url="https://github.com/o/r/blob/HEAD/src/a.go", licence_from="its row")  # fmt: skip
    assert isinstance(data, Dropped)
    assert (data.reason, data.detail) == (NOT_SOURCE, "package.json")
    assert isinstance(licence, Dropped)
    assert isinstance(zig, Document)
    assert zig.language == "zig"
    assert isinstance(surrogate, Document)
    assert surrogate.text == "lone  surrogate"
    assert isinstance(bad, Dropped)
    assert bad.reason == BAD_ROW
    assert {NOT_SOURCE, BAD_ROW} == set(REASONS)


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        (b"a\0b", BINARY),
        (b"\x01" * 20 + b"abc", BINARY),
        (b" \n\t", EMPTY),
        (bytes(range(128, 256)) * 3, INVALID_UTF8),  # neither letters nor an encoding that has all of them
    ],
)
def test_what_is_not_text_is_dropped(tmp_path: Path, content: bytes, verdict: str) -> None:
    (tmp_path / "a.py").write_bytes(content)
    assert licences(read(tmp_path, "a.py")) == {"a.py": verdict}


def test_marks_and_line_ends_are_normalised_and_indentation_stays(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"\xef\xbb\xbf\r\n  x = 1\r\ny\r\n\r\n")
    (document,) = read(tmp_path, "a.py").values()
    assert isinstance(document, Document)
    assert document.text == "  x = 1\ny"


def test_other_encodings_are_read(tmp_path: Path) -> None:
    files = {
        "a.py": "# -*- coding: latin-1 -*-\n# café\n".encode("latin-1"),
        "b.c": "/* Grüße aus Köln */\nint a;\n".encode("cp1252"),
        "c.rb": "# encoding: Shift_JIS\n# 日本語\n".encode("cp932"),
    }
    tar(tmp_path / "a.tar.gz", files)
    texts = [verdict.text for verdict in read(tmp_path, "a.tar.gz").values()]
    assert texts == [
        "# -*- coding: latin-1 -*-\n# café",
        "/* Grüße aus Köln */\nint a;",
        "# encoding: Shift_JIS\n# 日本語",
    ]


def test_rows_may_hold_bytes_in_another_encoding(tmp_path: Path) -> None:
    rows = [
        {"content": "// Привет, мир\n".encode("koi8-r"), "path": "a.c", "src_encoding": "koi8-r"},
        {"content": "// Grüße aus Köln\n".encode("cp1252"), "path": "b.c", "src_encoding": None},
        {"content": "// ä\n".encode(), "path": "c.c", "src_encoding": "UTF-8"},
        {"content": b"\x7fELF\0", "path": "d.c", "src_encoding": None},
        {"content": b"x" * 101, "path": "e.c", "src_encoding": None},
    ]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    verdicts = read(tmp_path, "rows.parquet", limit=100).values()
    assert [verdict.text or verdict.reason for verdict in verdicts if isinstance(verdict, Dropped)] == [
        BINARY,
        TOO_LARGE,
    ]
    texts = [verdict.text for verdict in verdicts if isinstance(verdict, Document)]
    assert texts == ["// Привет, мир", "// Grüße aus Köln", "// ä"]


def test_what_a_notice_says_decides_and_is_kept(tmp_path: Path) -> None:
    files = {
        "LICENSE": MIT.encode(),
        "a.py": b"# Licensed under the GPLv3.\nx = 1",
        "b.py": b"# No longer under the GPL.\nx = 1",
        "c.py": b"# MIT or GPL, at your choice\nx = 1",
        "vendor/frob/LICENSE.frob": GPL.encode(),
        "vendor/frob/d.py": b"x = 1",
        "vendor/e.py": b"x = 1",
    }
    tar(tmp_path / "a.tar.gz", files)
    found = {
        verdict.id.partition("#")[2]: (verdict.licence, verdict.licence_from)
        for verdict in read(tmp_path, "a.tar.gz", licence="MIT").values()
        if isinstance(verdict, Document)
    }
    assert found == {
        "a.py": ("GPL-3.0", '"Licensed under the GPLv3."'),
        "b.py": ("MIT", "LICENSE"),
        "c.py": ("MIT OR GPL", '"MIT or GPL, at your choice"'),
        "vendor/frob/d.py": ("GPL-3.0", "vendor/frob/LICENSE.frob"),
        "vendor/e.py": ("MIT", "LICENSE"),
    }


def test_a_third_partys_licence_beside_the_projects_does_not_count(tmp_path: Path) -> None:
    files = {"LICENSE": GPL.encode(), "LICENSE-THIRD-PARTY.txt": MIT.encode(), "a.py": b"x = 1"}
    tar(tmp_path / "a.tar.gz", files)
    assert licences(read(tmp_path, "a.tar.gz"))["a.tar.gz#a.py"] == "GPL-3.0"
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert licences(read(tmp_path, "a.py")) == {"a.py": "GPL-3.0"}


def test_utf_16_with_a_mark_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.cs").write_bytes("class Ä {}\r\n".encode("utf-16"))
    (document,) = read(tmp_path, "a.cs").values()
    assert isinstance(document, Document)
    assert document.text == "class Ä {}"


def test_large_and_broken_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x" * 101)
    assert licences(read(tmp_path, "a.py", limit=100)) == {"a.py": TOO_LARGE}
    tar(tmp_path / "a.tar.gz", {"a.py": b"x" * 101, "b.bin": b"x" * 101, "c.py": b"x"})
    assert licences(read(tmp_path, "a.tar.gz", limit=100)) == {
        "a.tar.gz#a.py": TOO_LARGE,
        "a.tar.gz#b.bin": NOT_SOURCE,
        "a.tar.gz#c.py": "",
    }
    (tmp_path / "b.tar.gz").write_bytes((tmp_path / "a.tar.gz").read_bytes()[:60])
    assert UNREADABLE in licences(read(tmp_path, "b.tar.gz")).values()
    assert licences(read(tmp_path, "missing.py")) == {"missing.py": UNREADABLE}
    assert licences(read(tmp_path, "missing.jsonl")) == {"missing.jsonl": UNREADABLE}


@given(st.binary())
def test_any_bytes_give_a_verdict(content: bytes) -> None:
    verdict = reader().document(Raw("a.py", content, {"language": "python"}))
    if isinstance(verdict, Document):
        assert verdict.text.encode().decode() == verdict.text
        assert verdict.text.strip()
