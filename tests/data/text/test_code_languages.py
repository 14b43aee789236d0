import pytest

from puna.data.text.code_languages import COMMENTS, LANGUAGES, NAMES, language_of


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b.py", "python"), ("b.PY", "python"), ("b.c", "c"), ("b.C", "c++"), ("b.h", "c"), ("b.hpp", "c++"),
        ("b.R", "r"), ("x/Makefile", "makefile"), ("CMakeLists.txt", "cmake"), ("README.md", "markdown"),
        ("b.py.gz", "python"),
        ("a.py/notes", ""), ("package.json", ""), ("b.txt", ""), ("cert.crt", ""), ("LICENSE", ""), ("", ""),
        (".py", ""),
        ("data.csv", ""), ("a.min.js", "javascript"), ("outer.zip!src/b.rs", "rust"),
    ],
)  # fmt: skip
def test_the_name_tells_the_language(path: str, language: str) -> None:
    assert language_of(path) == language


def test_every_language_has_its_comments_and_every_ending_one_language() -> None:
    assert {*LANGUAGES.values(), *NAMES.values()} == set(COMMENTS)
    assert all(ending.startswith(".") and (ending.islower() or ending in (".C", ".H", ".S")) for ending in LANGUAGES)
    assert all(name == name.lower() for name in NAMES)
    assert all(comments.line or comments.block for comments in COMMENTS.values())
