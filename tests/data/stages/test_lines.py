"""CCNet's repeated lines through the whole build, against the definition over all documents at once."""

from collections import Counter
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.layout import DataDir
from puna.data.rules.lines import line_hashes
from puna.data.stages.plan import build_documents

MENU = "Home | About us | Contact"


@pytest.fixture
def pages(shelf: Path) -> Path:
    """Pages with a menu and a footer that all have, and lines of their own; one is nothing but what others have."""
    for number, path in enumerate(sorted((shelf / "poems").rglob("*.txt"))):
        name = chr(ord("a") + number)
        own = [f"Page {name} speaks of {word} alone." for word in ("lambs", "tygers", "roses", "worms")]
        own += ["On 3 May 1794 it rained."] * (number in (4, 5)) + ["on 4 may 1795 it rained."] * (number == 6)
        own += [f"Twice in page {name}."] * 2 * (number == 7)
        path.write_text("\n".join([MENU, *own, "(c) 1794"]))
    (shelf / "poems" / "read" / "stub.txt").write_text(f"{MENU}\n(c) 1794\n{MENU}")
    return shelf


@pytest.mark.parametrize(("partitions", "chunk_bytes"), [(1, 10**6), (5, 300)])
def test_lines_that_stand_in_two_documents_go_from_both(
    recipe: Recipe, out: DataDir, pages: Path, lines, changed, partitions: int, chunk_bytes: int
):
    recipe = changed(
        recipe, sources__poems__clean=["lines"], rules__lines__min_chars=20, partitions=partitions,
        chunk_bytes=chunk_bytes, keep_dropped=True,
    )  # fmt: skip
    build_documents(recipe, out)
    texts = {
        path.relative_to(pages / "poems").as_posix(): path.read_text() for path in (pages / "poems").rglob("*.txt")
    }
    seen = Counter(value for text in texts.values() for value in set(line_hashes(text).tolist()))
    expected = {}
    for name, text in texts.items():
        own = dict(
            zip(reversed(line_hashes(text).tolist()), reversed(text.split("\n")), strict=True)
        )  # the first of each
        left = [line for value, line in reversed(own.items()) if seen[value] < 2]
        expected[name] = "\n".join(left)
    kept = {line["id"]: line["text"] for split in ("train", "heldout") for line in lines("poems", split)}
    assert {name: text.strip() for name, text in kept.items()} == {
        name: text.strip() for name, text in expected.items() if len(text.strip()) >= 20
    }
    everything = "\n".join(kept.values())
    assert "it rained" not in everything  # digits and case count for nothing
    assert everything.count("Twice in page h.") == 1  # in one document alone: the first stays
    assert everything.count("lambs alone") == 12
    dropped = {line["id"]: line["reason"] for line in lines("poems", "dropped")}
    assert dropped["read/stub.txt"].startswith("lines.")
