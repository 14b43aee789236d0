"""The words of the sources: phrases that stop a reader, and docstrings that say nothing, do not come back."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "src" / "puna").rglob("*.py"))
DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]

CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
"""What commands print, the model's own words among it."""

SHORTEST_DOCSTRING = 19
"""Characters: "Always true.", "All names." and "The end." are shorter."""

IS_NO = re.compile(
    r"(?<!\bthere )\b(?P<verb>is|are|was|were) no (?!longer\b|(?:more|less|\w+er) than\b)(?P<next>[^\s.,;:]+)",
    re.IGNORECASE,
)
"""Not "there is no file"; nor "is no longer", which is about time, and "is no larger than", which compares."""
PLAIN = {
    r"so many": "this number of, or how many",
    r"anew": "again",
    r"comes? to grief": "fails",
    r"becomes? the custom": "say what it changes, such as a threshold",
    r"the way on": "say what lets the run continue",
    r"is no news": "say what is not predicted or not counted",
    r"(?:whole|end of the|of the) road": "all stages, or the order of the stages",
    r"knows? its words": "its cache is reused",
    r"no mark of its own": "no magic number",
    r"otherwise than": "differently from, or unlike",
    r"in each other": "nested",
    r"(?:is|are) there twice": "occurs twice, or is a duplicate",
    r"(?:is|are) there again": "is repeated",
    r"gives? way": "is replaced",
    r"what stands (?:before|behind|between|from|up)": "the text, the bytes or the part before, after, between",
    r"what is no\b": "say what it is: 'a line that is not JSON'",
}
BANNED = {re.compile(rf"\b(?:{phrase})", re.IGNORECASE): plain for phrase, plain in PLAIN.items()}


def test_sources_say_it_plainly() -> None:
    found = [f"{path.relative_to(ROOT)}:{line}" for path in MODULES for line in problems(path.read_text("utf-8"))]
    assert found == []


def test_documents_say_it_plainly() -> None:
    rule = '"is not valid TOML", never "is no valid TOML"'
    found = [
        f"{path.relative_to(ROOT)}: {problem}"
        for path in DOCUMENTS
        for problem in phrases(CODE.sub("", path.read_text("utf-8")).replace(rule, ""))
    ]
    assert found == []


def test_names_of_tests_say_it_plainly() -> None:
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"^ *def (test_\w+)", path.read_text("utf-8"), re.MULTILINE):
            found += [f"{path.relative_to(ROOT)}: {name}: {problem}" for problem in phrases(name.replace("_", " "))]
    assert found == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ('raise ValueError("is no valid TOML")', "1: 'is no valid': write 'is not valid' or 'is not a valid'"),
        ('raise ValueError(f"{path}: was no {kind}")', "write 'was not {…}' or 'was not a {…}'"),
        ('"""The files, which are no\narchives."""', "'are no archives'"),
        ("x = 1  # it is no multiple of 2", "'is no multiple'"),
        ('def f():\n    """Sends so many bytes to the next."""', "2: 'so many': write this number of, or how many"),
        ('"""How to walk the whole road of a model."""', "'whole road': write all stages"),
        ('"""It knows its words then, so it is fast."""', "'knows its words': write its cache is reused"),
        ('"""What is no number becomes its name."""', "'What is no'"),
        ('class A:\n    def f(self):\n        """True."""', "3: the docstring 'True.' has 5 characters"),
        ('X = 1\n"""All of them."""', "2: the docstring 'All of them.' has 12 characters"),
        ('"""The layer."""', "1: the docstring 'The layer.' has 10 characters"),
    ],
)
def test_a_phrase_that_comes_back_is_found_with_a_plain_one(source: str, says: str) -> None:
    assert says in "\n".join(problems(source))


@pytest.mark.parametrize(
    "source",
    [
        '"""There is no such file, and where there are no tokens there was no text."""',
        '"""A window that is no longer than the context, and no more than a copy."""',
        '"""It has no name, says no word, and is not valid TOML."""',
        "names = ['is', 'no']",
        'def f():\n    return "True."',
    ],
)
def test_plain_words_pass(source: str) -> None:
    assert list(problems(source)) == []


def problems(source: str) -> Iterator[str]:
    """Each problem of a module's docstrings, strings and comments, as `line: sentence`."""
    for line, text, is_docstring in texts(source):
        yield from (f"{line}: {problem}" for problem in phrases(text))
        if is_docstring and len(text) < SHORTEST_DOCSTRING:
            yield (
                f"{line}: the docstring {text!r} has {len(text)} characters: say what comes out, its unit and when, or "
                "make the method private and leave it out"
            )


def phrases(text: str) -> Iterator[str]:
    """A sentence for each phrase of a text that stops a reader."""
    text = " ".join(text.split())
    for match in IS_NO.finditer(text):
        verb, word = match["verb"], match["next"]
        yield f"{match[0]!r}: write '{verb} not {word}' or '{verb} not a {word}'"
    for pattern, plain in BANNED.items():
        yield from (f"{match[0]!r}: write {plain}" for match in pattern.finditer(text))


def texts(source: str) -> Iterator[tuple[int, str, bool]]:
    """Line, text and whether it is a docstring: of every string, also of an f-string as a whole, and every comment."""
    tree = ast.parse(source)
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            parts.add(id(node.value))
            yield node.lineno, node.value.value, True
        elif isinstance(node, ast.JoinedStr):
            parts |= {id(value) for value in node.values}
            values = [value.value if isinstance(value, ast.Constant) else "{…}" for value in node.values]
            yield node.lineno, "".join(values), False
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, node.value, False
    for number, line in enumerate(source.splitlines(), 1):
        if "#" in line:
            yield number, line[line.index("#") :], False
