import pytest

from puna.data.text.latex_encodings import decode_files


def text(content: bytes) -> str:
    return decode_files({"a": content})["a"]


def test_a_file_is_utf_8_or_what_inputenc_says_or_windows_1252_or_latin_1() -> None:
    assert decode_files({"a": "é".encode(), "b": "é“".encode("cp1252"), "c": b"\xe9\x81"}) == {
        "a": "é",
        "b": "é“",
        "c": "é",
    }
    assert text("\ufeffx\r\ny\rz\0\x01".encode()) == "x\ny\nz"


CHINESE, OLD_CHINESE, KOREAN, JAPANESE, RUSSIAN = (
    "漢字的說明",
    "汉字的说明",
    "한국어 글",
    "日本語の表ソ能",
    "Привет, мир",
)


@pytest.mark.parametrize(
    ("declaration", "words", "encoding"),
    [
        ("\\usepackage[koi8-r]{inputenc}", RUSSIAN, "koi8-r"),
        ("\\usepackage[cp1251]{inputenc}", RUSSIAN, "cp1251"),
        ("\\usepackage[ansinew]{inputenc}", "naïve “é”", "cp1252"),
        ("\\RequirePackage[T1,latin2]{inputenc}", "Łódź", "iso8859-2"),
        ("\\usepackage[iso-8859-7]{inputenc}", "Αθήνα", "iso8859-7"),
        ("\\usepackage[applemac]{inputenc}", "Zoë", "mac-roman"),
        ("\\inputencoding{cp866}", RUSSIAN, "cp866"),
        ("\\usepackage[utf8x]{inputenc}", RUSSIAN, "utf-8"),
        ("% !TEX encoding = IsoLatin", "café", "latin-1"),
        ("% !TEX encoding = UTF-8 Unicode", "café", "utf-8"),
        ("% -*- mode: latex; coding: koi8-r -*-", RUSSIAN, "koi8-r"),
        ("% vim: set fileencoding=cp1251 :", RUSSIAN, "cp1251"),
        ("%#!platex -kanji=sjis", JAPANESE, "cp932"),
        ("\\documentclass{jsarticle}", JAPANESE, "euc-jp"),
        ("\\documentclass{jarticle}", JAPANESE, "cp932"),
        ("\\documentclass[GBK]{ctexart}", OLD_CHINESE, "gbk"),
        ("\\documentclass[UTF8]{ctexart}", OLD_CHINESE, "utf-8"),
        ("\\usepackage{hangul}", KOREAN, "euc-kr"),
        ("\\usepackage{xeCJK}", OLD_CHINESE, "utf-8"),
        ("\\XeTeXinputencoding \"gbk\"", OLD_CHINESE, "gbk"),
        ("\\usepackage{CJKutf8}", CHINESE, "utf-8"),
        ("", JAPANESE, "iso2022_jp"),
    ],
)  # fmt: skip
def test_a_file_is_read_in_the_encoding_that_it_declares(declaration: str, words: str, encoding: str) -> None:
    source = f"{declaration}\n\\begin{{document}}\n{words}\n\\end{{document}}"
    assert text(source.encode(encoding)) == source


@pytest.mark.parametrize(
    ("name", "words", "encoding"),
    [
        ("GBK", "汉字", "gbk"), ("GBK", OLD_CHINESE, "gbk"), ("GB", OLD_CHINESE, "gb2312"),
        ("Bg5", "功許蓋題", "big5"), ("Bg5", CHINESE, "big5"), ("JIS", JAPANESE, "euc-jp"),
        ("SJIS", JAPANESE, "cp932"), ("KS", KOREAN, "euc-kr"), ("UTF8", CHINESE, "utf-8"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("star", ["", "*"])
def test_within_cjk_its_encoding_holds_and_around_it_the_files(name: str, words: str, encoding: str, star: str) -> None:
    before, after = "\\usepackage[latin1]{inputenc}\nJosé and ", " at Orsay près de Paris"
    begin, end = f"\\begin{{CJK{star}}}{{{name}}}{{song}}", f"\\end{{CJK{star}}}"
    around = "utf-8" if encoding == "utf-8" else "latin-1"
    content = (before + begin).encode(around) + words.encode(encoding) + (end + after).encode(around)
    assert text(content) == f"{before}{begin}{words}{end}{after}"


def test_big5_with_backslashes_and_braces_as_second_bytes_stays_what_it_is() -> None:
    words = "功能許可"
    assert b"\\" in words.encode("big5")
    source = f"\\begin{{CJK}}{{Bg5}}{{bsmi}}\\section{{{words}}}{words}\\end{{CJK}}"
    assert text(source.encode("big5")) == source


def test_what_the_programs_of_cjk_have_prepared_is_read_too() -> None:
    raw = "功能".encode("big5")
    prepared = b"".join(raw[n : n + 1] + b"\x7f%d\x7f" % raw[n + 1] for n in range(0, len(raw), 2))
    assert text(b"\\begin{CJK}{Bg5}{bsmi}" + prepared + b"\\end{CJK}") == "\\begin{CJK}{Bg5}{bsmi}功能\\end{CJK}"


def test_a_declaration_in_a_comment_or_against_the_bytes_does_not_count() -> None:
    assert text("%\\usepackage[koi8-r]{inputenc}\nnaïve".encode("latin-1")).endswith("naïve")
    assert text("\\usepackage[latin1]{inputenc} café".encode()).endswith("café")
    assert text("\\usepackage[utf8]{inputenc} café".encode("latin-1")).endswith("café")
    assert text(("\\documentclass[GBK]{ctexart} " + CHINESE * 3).encode()).endswith(CHINESE)


@pytest.mark.parametrize("encoding", ["koi8-r", "cp1251", "cp866"])
def test_without_a_declaration_text_that_is_mostly_beyond_ascii_is_guessed(encoding: str) -> None:
    words = "Рассмотрим задачу для распределения температуры в стержне, решение существует и единственно. " * 3
    assert text(words.encode(encoding)) == words
    assert text("Größe für schöne Übungen, où l'été".encode("cp1252")) == "Größe für schöne Übungen, où l'été"


def test_a_files_own_declaration_is_before_those_of_the_others() -> None:
    files = decode_files({
        "main.tex": b"\\usepackage[koi8-r]{inputenc} " + RUSSIAN.encode("koi8-r"),
        "si.tex": b"\\usepackage[cp1251]{inputenc} " + RUSSIAN.encode("cp1251"),
        "part.tex": RUSSIAN.encode("koi8-r"),
    })  # fmt: skip
    assert all(file.endswith(RUSSIAN) for file in files.values())
