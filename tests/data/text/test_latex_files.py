import pytest

from puna.data.text.latex_encodings import decode_files
from puna.data.text.latex_files import Paper

CLASS = "\\documentclass{article}\n"


def body(text: str) -> str:
    return f"{CLASS}\\begin{{document}}\n{text}\n\\end{{document}}\n"


def source(**files: str) -> str:
    return Paper({name.replace("__", "/") + ".tex": text for name, text in files.items()}).source


def test_one_bad_file_does_not_drop_the_paper() -> None:
    files = decode_files({"main.tex": body("\\input{bad}").encode(), "bad.tex": b"\xff\xfe\xfd na\xefve"})
    assert "in it" in Paper(files | {"bad.tex": files["bad.tex"] + "in it"}).source


@pytest.mark.parametrize(
    "command",
    ["\\input{part}", "\\input{part.tex}", "\\input part", "\\input{ part }", "\\include{part}", "\\subfile{./part}",
     "\\input{\"part\"}", "\\InputIfFileExists{part}"],
)  # fmt: skip
def test_every_way_to_take_in_a_file_is_followed(command: str) -> None:
    assert "PART" in source(main=body(command), part="PART\n")


def test_files_are_found_from_the_main_file_the_root_and_the_file_itself() -> None:
    text = source(paper__ms=body("\\input{a}\\input{paper/b}\\import{sub/}{c}"), paper__a="A", paper__b="B",
                  paper__sub__c="C \\input{d}", paper__sub__d="D")  # fmt: skip
    assert [letter for letter in "ABCD" if letter in text] == list("ABCD")


def test_nothing_outside_the_archive_is_read() -> None:
    assert "root:" not in source(main=body("\\input{/etc/passwd}\\input{../../../../etc/passwd}"))


def test_cycles_end() -> None:
    text = source(main=body("\\input{a}"), a="A \\input{b}", b="B \\input{a} \\input{main}")
    assert text.count("A") == text.count("B") == 1


def test_repeated_files_do_not_grow_without_bound() -> None:
    files = {f"f{n}": f"\\input{{f{n + 1}}}\\input{{f{n + 1}}}" + "x" * 100 for n in range(40)}
    assert len(source(main=body("\\input{f0}"), **files)) < 50_000


def test_of_a_document_that_is_taken_in_only_the_body_is() -> None:
    text = source(
        main=body("\\subfile{part}"), part="\\documentclass[main]{subfiles}\\begin{document}IN\\end{document}OUT"
    )
    assert [word for word in ("IN", "OUT", "subfiles") if word in text] == ["IN"]


def test_what_follows_endinput_is_not_taken_in() -> None:
    assert "gone" not in source(main=body("\\input{a}"), a="A \\endinput gone")


def test_commented_inputs_are_not_followed() -> None:
    assert "PART" not in source(main=body("% \\input{part}"), part="PART")


@pytest.mark.parametrize(
    ("files", "main"),
    [
        ({"a.tex": "\\section{A}" * 9, "b.tex": body("x")}, "b.tex"),
        ({"main.tex": body("\\input{part}"), "part.tex": body("longer" * 9)}, "main.tex"),
        ({"fig.tex": body("x"), "ms.tex": body("\\input{long}"), "long.tex": "word " * 99}, "ms.tex"),
        ({"style.txt": "no TeX at all"}, ""),
        ({"old": "\\magnification=1200\nText.\\bye"}, "old"),
        ({"a.tex": "\\documentstyle{article}\\begin{document}a\\end{document}"}, "a.tex"),
        ({}, ""),
    ],
)
def test_the_main_file_is_the_document_that_no_other_takes_in(files: dict[str, str], main: str) -> None:
    assert Paper(files).main == main
