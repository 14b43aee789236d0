"""One browser for all tests of the page; each has a server of its own, whose port is an origin without any memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from scripted_chat import Script, scripted_chat


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the browser puts files."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def page_browser(tmp_path_factory: pytest.TempPathFactory, downloads: Path) -> Iterator[Any]:
    """Chromium."""
    with chromium(tmp_path_factory.mktemp("chromium"), downloads) as driver:
        yield driver


@pytest.fixture
def script() -> Iterator[Script]:
    """A server whose model says what the test wants."""
    with scripted_chat() as made:
        yield made
