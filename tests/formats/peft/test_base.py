"""An adapter on other weights than its own is warned of where hashes are known, and on its own nothing is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from puna.core.files import sha256_json
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.native.read import open_native
from puna.formats.native.write import write_native
from puna.formats.peft.base import warn_of_another_base

INPUTS = {"model.gguf": "1" * 64}


@pytest.fixture
def base(source: Callable[..., Any], tmp_path: Path) -> Checkpoint:
    """A Puna model that was imported from a file."""
    (tmp_path / "base").mkdir()
    write_native(source(), None, tmp_path / "base", inputs=INPUTS, results={})
    return open_native(tmp_path / "base", Hints())


def test_other_weights_are_warned_of(
    base: Checkpoint, adapter: Callable[..., Any], source: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_another_base(adapter(source(), base_sha256="f" * 64), base, "runs/polite/adapter")
    said = capsys.readouterr().err
    assert f"runs/polite/adapter: was trained on other weights than {base.path} has" in said


def test_its_own_weights_and_unknown_ones_are_not(
    base: Checkpoint, adapter: Callable[..., Any], source: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = json.loads((base.path / "record.json").read_text())["outputs"]
    # As a run names a model directory, what that was imported from, and an adapter of another program no model.
    for known in (sha256_json(outputs), sha256_json(INPUTS), ""):
        warn_of_another_base(adapter(source(), base_sha256=known), base, "it")
    warn_of_another_base(adapter(source(), base_sha256="f" * 64), source(), "it")  # in memory, without hashes
    assert capsys.readouterr().err == ""
