"""The answer of a solution in MATH, which stands in a box, and the rules by which two of them are equal.

The rules are those of Hendrycks et al. (2021) as lm-evaluation-harness has them in `hendrycks_math`: texts are brought
to one form and compared as such. A test compares both on all answers of the test set.
"""


def boxed(solution: str) -> str | None:
    r"""The content of the last \boxed or, without one, in the last \fbox; None where there is neither or it is open.

    A box without braces ends at the next dollar sign.
    """
    if r"\boxed " in solution:
        return solution.rpartition(r"\boxed ")[2].partition("$")[0]
    begin = solution.rfind(r"\boxed")
    begin = solution.rfind(r"\fbox") if begin < 0 else begin
    if begin < 0:
        return None
    depth = 0
    for place in range(begin, len(solution)):
        depth += {"{": 1, "}": -1}.get(solution[place], 0)
        if solution[place] == "}" and depth == 0:
            return solution[solution.index("{", begin) + 1 : place]
    return None


def equal_texts(one: str, other: str) -> bool:
    """Whether two answers have the same form; where one cannot be brought to it, whether they are the same text."""
    try:
        return plain_form(one) == plain_form(other)
    except ValueError:
        return one == other


def plain_form(text: str) -> str:
    """An answer without line breaks, spaces, units and signs of degree and currency, fractions with braces.

    Raises:
        ValueError: The rules do not say what becomes of it.
    """
    for before, after in _REPLACED:
        text = text.replace(before, after)
    if r"\text{ " in text:
        text, *more = text.split(r"\text{ ")
        if len(more) > 1:
            raise ValueError("two units")
    text = text.replace(r"\%", "").replace(r"\%", "").replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    text = "0" + text if text[0] == "." else text
    name, equals, value = text.partition("=")
    if equals and "=" not in value and len(name) <= 2:
        text = value
    text = _fractions(_roots(text).replace(" ", ""))
    return _slash(r"\frac{1}{2}" if text == "0.5" else text)


_REPLACED = (
    ("\n", ""), (r"\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), (r"\left", ""), (r"\right", ""),
    (r"^{\circ}", ""), (r"^\circ", ""), (r"\$", ""),
)  # fmt: skip


def _roots(text: str) -> str:
    r"""Puts braces into \sqrt3."""
    first, *others = text.split(r"\sqrt")
    if "" in others:
        raise ValueError("a root of nothing")
    return first + "".join(r"\sqrt" + (part if part[0] == "{" else f"{{{part[0]}}}{part[1:]}") for part in others)


def _fractions(text: str) -> str:
    r"""Braces for \frac12 and \frac1{72}; the text as it is where one is cut short."""
    first, *others = text.split(r"\frac")
    found = first
    for part in others:
        if not part:
            raise ValueError("a fraction of nothing")
        if part[0] == "{":
            found += r"\frac" + part
        elif len(part) < 2:
            return text
        elif part[1] == "{":
            found += rf"\frac{{{part[0]}}}{part[1:]}"
        else:
            found += rf"\frac{{{part[0]}}}{{{part[1]}}}{part[2:]}"
    return found


def _slash(text: str) -> str:
    """A fraction for two whole numbers with a slash between them."""
    if text.count("/") != 1:
        return text
    above, below = (int(part) for part in text.split("/"))
    return rf"\frac{{{above}}}{{{below}}}" if text == f"{above}/{below}" else text
