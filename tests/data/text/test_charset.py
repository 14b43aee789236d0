"""The encoding of web pages."""

# ruff: noqa: RUF001

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.text.charset import decode_page, encoding_of

GERMAN = "<html><head>%s</head><body>Größe: süße Äpfel für 5 € – „schön“</body>"
RUSSIAN = "<p>Образование: то, что открывает мудрым и скрывает от глупых обширные границы их знаний.</p>" * 3
KOREAN = "<p>모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.</p>" * 3
JAPANESE = "<p>吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。</p>"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8", "utf-8-sig"])
def test_unicode_is_found_whatever_the_label_says(encoding: str):
    assert decode_page((GERMAN % "").encode(encoding), "iso-8859-1") == GERMAN % ""


def test_a_label_that_lies_is_passed_over():
    assert decode_page(RUSSIAN.encode("cp1251"), "utf-8") == RUSSIAN


def test_latin_1_is_what_browsers_take_it_for():
    assert decode_page((GERMAN % "").encode("cp1252"), "ISO-8859-1") == GERMAN % ""


@pytest.mark.parametrize(
    "meta",
    [
        "<!-- charset=windows-1251 -->",
        '<meta name="description" content="charset=windows-1251 was usual">',
        '<meta property="x" data-charset="koi8-r">',
    ],
)
def test_what_is_not_a_declaration_declares_nothing(meta: str):
    page = meta + "Le café près de l'église était fermé à cause de la grève générale déclarée hier. " * 4
    assert decode_page(page.encode("cp1252"), "") == page


@pytest.mark.parametrize(
    ("text", "codec", "label"),
    [
        ("①吾輩は猫である㈱", "cp932", "Shift_JIS"),
        ("함께 썅 똠방각하 햏", "cp949", "euc-kr"),
        ("粵語㗎嘅", "big5hkscs", "big5"),
        ("我能吞下玻璃㐀", "gb18030", "gb2312"),
        ("ภาษาไทย…", "cp874", "TIS-620"),
        ("ｱｲｳ吾輩", "iso2022_jp_ext", "iso-2022-jp"),
        ("한글", "iso2022_kr", "iso-2022-kr"),
        ("Привет Ґ", "mac_cyrillic", "x-mac-ukrainian"),
    ],
)
def test_a_label_stands_for_all_characters_that_browsers_know_by_it(text: str, codec: str, label: str):
    assert decode_page(text.encode(codec), label) == text


def test_euc_jp_has_the_characters_that_the_codec_lacks():
    assert decode_page(b"\xad\xa1\xa4\xa2", "euc-jp") == "①あ"


def test_only_pages_declare_an_encoding_in_a_meta():
    content = b"<meta charset=koi8-r>" + "café ".encode("cp1252") * 9
    assert "caf\u00e9" not in decode_page(content, "")
    assert "caf\u00e9" in decode_page(content, "", "text")
    assert "caf\u00e9" in decode_page(content, "", "xml")


def test_labels_are_those_of_the_standard():
    names = ("latin1", " UTF8 ", "ascii", "x-sjis", "x-user-defined", "utf-7", "base64", "nonsense", "")
    assert [encoding_of(name) for name in names] == ["cp1252", "utf-8", "cp1252", "cp932", "cp1252", "", "", "", ""]


@pytest.mark.parametrize(
    "meta",
    ['<meta charset="windows-1252">', '<meta http-equiv=content-type content="text/html; charset=windows-1252">'],
)
def test_a_page_says_its_own_encoding(meta: str):
    assert decode_page((GERMAN % meta).encode("cp1252"), "") == GERMAN % meta


@pytest.mark.parametrize("encoding", ["shift_jis", "euc-jp", "iso-2022-jp"])
def test_japanese_by_label(encoding: str):
    assert decode_page((JAPANESE * 4).encode(encoding), encoding) == JAPANESE * 4


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (JAPANESE * 4, "shift_jis"), (KOREAN, "euc_kr")],
)
def test_without_a_label_the_bytes_tell(text: str, encoding: str):
    assert decode_page(text.encode(encoding), "") == text


def test_a_page_that_was_cut_off_in_a_character_stays_utf8():
    assert decode_page("für süße Äpfel €".encode()[:-1], "iso-8859-1") == "für süße Äpfel "


def test_a_few_wrong_bytes_do_not_change_the_encoding():
    content = RUSSIAN.encode() + b"\xff" + RUSSIAN.encode()
    assert decode_page(content, "utf-8") == RUSSIAN + "\ufffd" + RUSSIAN


@given(
    st.binary(max_size=300),
    st.sampled_from(["", "utf-8", "utf-16", "punycode", "base64", "utf-7", "no such", "\0", "gb18030"]),
)
def test_any_bytes_become_text(content: bytes, label: str):
    assert isinstance(decode_page(content, label), str)
