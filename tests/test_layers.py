"""The layers of the design hold: import-linter's contracts, run as `make lint` runs them."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT, "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_imports_point_only_downwards() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    assert f"{len(contracts)} kept, 0 broken" in done.stdout


def test_every_folder_has_its_place_among_the_layers() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ][0]
    placed = {name.strip() for line in contract["layers"] for name in line.split("|")}
    folders = {path.parent.name for path in (ROOT / "src" / "puna").glob("*/__init__.py")}
    assert folders == placed


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("core/errors.py", "puna.config.recipe"),
        ("train/schedule.py", "puna.formats.hf.write"),
        ("shards/shards.py", "torch"),
        ("formats/hf/read.py", "puna.formats.gguf.read"),
    ],
)
def test_an_import_against_the_layers_is_found(tmp_path: Path, module: str, imported: str) -> None:
    """The contracts can fail: the same check on a copy of the tree with one wrong import."""
    shutil.copytree(ROOT / "src" / "puna", tmp_path / "puna")
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    spoiled = tmp_path / "puna" / module
    spoiled.write_text(spoiled.read_text(encoding="utf-8") + f"import {imported}\n", encoding="utf-8")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"puna.{module.removesuffix('.py').replace('/', '.')} -> {imported}" in done.stdout
