import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.text.code_encoding import decode_code, wide_encoding


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("latin-1", "# -*- coding: latin-1 -*-\n# café naïve"
                    "\n"), ("latin-1", "#!/bin/a\n# vim: set fileencoding=latin1 :\n# é"),
        ("koi8-r", "# coding=koi8-r\n# я"
                   "\n"), ("cp932", "# encoding: windows-31j\n# 表\n"), ("euc_jp", "\n# coding: euc-jp\n# 表\n"),
        ("iso8859-15", "; -*- mode: lisp; coding: iso-8859-15-unix -*-\n; 5 €"
                       "\n"), ("cp1251", "/* -*- coding: cp1251-dos -*- */ // ё"),
        ("cp1250", '@charset "windows-1250";\na { content: "ž"'
                   ' }'), ("iso8859-2", '<?xml version="1.0" encoding="ISO-8859-2"?>\n<a>ž</a>'),
        ("euc_jp", 'use strict;\nuse encoding "euc-jp";\n# 表\n'), ("gb18030", '<meta charset="gbk">\n<p>丂</p>'),
        ("cp1251", "int a; // ё\n/* Local Variables:\n * coding: windows-1251\n * End: */"
                   "\n"), ("cp1255", "x\n# vim: fenc=cp1255 et\n# ש"),
        ("iso2022_jp", "# -*- coding: iso-2022-jp -*-\n# 日本語"
                       "\n"), ("iso2022_jp", "/* 日本語 */\n"), ("utf-8", "# ä 日本 я\n"),
        ("utf-8-sig", "# ä\n"), ("utf-16", "class Ä {}\n"), ("utf-16-le", "class A { string a; }"
                                                                          "\n"), ("utf-32", "# ä\n"),
        ("utf-8", "# -*- coding: latin-1 -*-\n# in truth UTF-8: é\n"), ("cp1252", "# coding: latin-1\n# “quoted”\n"),
        ("utf-8", "# coding: utf-7\n# a+b-c é"
                  "\n"), ("cp1252", "# coding: rot13\n# é\n"), ("cp1252", "# coding: nonsense\n# é\n"),
    ],
)  # fmt: skip
def test_a_declared_encoding_is_believed_unless_it_is_utf_8(encoding: str, text: str) -> None:
    assert decode_code(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1252", "Grüße aus Köln"), ("cp1252", "Año nuevo, señor"), ("cp1252", "© 2010 José"),
        ("cp1252", "“a” \u2013 b"), ("cp874", "นี่คือความคิดเห็นภาษาไทย"),
        ("cp1257", "Šis ir komentārs latviešu valodā, ļoti īss"),
        ("cp1251", "Инициализация переменных"), ("koi8-r", "Привет, мир"), ("cp866", "Эта функция возвращает длину"),
        ("cp932", "初期化する"), ("cp932", "表示する"), ("cp437", "Größe: ändern"), ("cp932", "エラーが発生しました。"),
        ("euc_jp", "文字列の長さを返す関数"),
        ("gb18030", "初始化变量"), ("gb18030", "中文注释"), ("big5", "初始化變數"), ("big5", "返回字串的長度"),
        ("cp949", "변수 초기화"), ("cp1250", "Příliš žluťoučký kůň"), ("cp1253", "Αρχικοποίηση μεταβλητών"),
        ("cp1254", "Değişkenleri başlat, İstanbul"), ("cp1255", "אתחול משתנים"), ("cp437", "──── Größe ────"),
    ],
)  # fmt: skip
def test_another_encoding_is_guessed(encoding: str, words: str) -> None:
    text = f"int main(void) {{\n    int x = 1; /* {words} */\n    return x; /* {words} */\n}}\n"
    assert decode_code(text.encode(encoding)) == text


def test_what_somebody_else_names_comes_first() -> None:
    assert decode_code("// ё".encode("cp866"), "cp866") == "// ё"
    assert decode_code("// ä".encode(), "iso-2022-jp") == "// ä"


def test_bytes_that_are_not_text_are_refused() -> None:
    for seed in range(20):
        content = bytes(random.Random(seed).choices(range(1, 256), k=1000))
        with pytest.raises(UnicodeDecodeError):
            decode_code(content)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("int a;  ".encode("utf-16-be"), "utf-16-be"),
        (b"int a;\0\0\0", ""),
        (b"\0" * 20, ""),
        (b"int main", ""),
        (b"", ""),
    ],
)
def test_zeros_beside_ascii_are_utf_16(content: bytes, encoding: str) -> None:
    assert wide_encoding(content) == encoding


@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_refused(content: bytes) -> None:
    try:
        assert isinstance(decode_code(content), str)
    except UnicodeDecodeError:
        assert content


def test_a_byte_that_is_not_utf8_spoils_no_other():
    assert decode_code("// Größe, Köln".encode() + b", M\xfcnchen\n") == "// Größe, Köln, München\n"
