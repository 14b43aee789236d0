"""English documentation and source code, as every Python has them, to compare rules with their peers on."""

import inspect
import pydoc_data.topics
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Some 80 pages of documentation and twice as many beginnings of modules and of their docstrings."""
    found = list(pydoc_data.topics.topics.values())
    for path in sorted(Path(inspect.__file__).parent.glob("*.py"))[::2]:
        source = path.read_text(encoding="utf-8", errors="replace")
        found += [source, "\n\n".join(source.split('"""')[1::2])]
    return [text[:4000] for text in found if text.strip()]
