import pytest

from puna.search.places import word_edges


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("the cat", "|the| |cat|"),
        ("don't stop", "|don|'|t| |stop|"),
        ("x1=y_2", "|x1|=|y|_|2|"),
        ("漢字と", "|漢|字|と|"),
        ("straße é", "|straße| |é|"),
        ("a漢b", "|a|漢|b|"),
        ("हिन्दी cafe\u0301s", "|हिन्दी| |cafe\u0301s|"),
        ("สวัสดี", "|ส|ว|ั|ส|ด|ี|"),
        ("", "|"),
    ],
)
def test_words_have_their_edges(text: str, cut: str):
    marks = word_edges(text)
    pieces = [text[start:end] for start, end in zip(marks, [*marks[1:], len(text)], strict=True)]
    assert "|" + "|".join(piece for piece in pieces if piece) + ("|" if text else "") == cut
