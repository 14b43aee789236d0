"""Superscripts and subscripts that keep their meaning without markup: 10⁶, CO₂, 19th, x^k."""
# ruff: noqa: RUF001 (characters that look alike are what these strings are about)

_RAISED = str.maketrans("0123456789+-−–=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁼⁽⁾ⁿ")
_LOWERED = str.maketrans("0123456789+-−–", "₀₁₂₃₄₅₆₇₈₉₊₋₋₋")
_ROMAN = frozenset("IVXLCDM")


def raised(text: str, before: str) -> str:
    """A superscript as plain text.

    Figures and signs have characters of their own; the ending of an ordinal (19th, 1er, XIXe) needs no mark; anything
    else of one word gets a `^`, without which x^k would become xk.

    Args:
        text: The raised text.
        before: The character that it follows, or nothing.
    """
    if not text or any(character.isspace() or not character.isprintable() for character in text):
        return text
    if all(ord(character) in _RAISED for character in text):
        return text.translate(_RAISED)
    ordinal = before.isdigit() or before in _ROMAN
    if text.isalpha() and (ordinal if len(text) == 1 else text.islower() or text.isupper()):
        return text
    return f"^{text}" if before and not before.isspace() else text


def lowered(text: str, before: str) -> str:
    """A subscript as plain text: figures have characters of their own, another word gets a `_`.

    Args:
        text: The lowered text.
        before: The character that it follows, or nothing.
    """
    if not text or any(character.isspace() or not character.isprintable() for character in text):
        return text
    figures = len(text) - len(text.lstrip("0123456789+-−–"))
    if figures or text[0] == "(":  # NH₃(aq), H₂O(l)
        return text[:figures].translate(_LOWERED) + text[figures:]
    return f"_{text}" if before and not before.isspace() else text
