"""Commands in hints."""

from pathlib import Path

import pytest

from puna.config.commands import data_build_command, new_run_from, train_command
from puna.config.recipe import Recipe
from puna.core.layout import DataDir, RunDir


@pytest.mark.parametrize(("out", "place"), [("data/tiny", ""), ("data/other", " --data-dir data/other")])
def test_a_build_is_named_where_it_is_not_in_its_usual_place(
    tiny: Recipe, tiny_toml: Path, out: str, place: str
) -> None:
    command = data_build_command(tiny, DataDir(Path(out)), "--force")
    assert command == f"puna data build {tiny_toml}{place} --force"


def test_a_build_is_named_without_the_options_of_a_run(tiny: Recipe, tiny_toml: Path) -> None:
    typed = tiny.typed_with("--model", "runs/demo").typed_with("--data-dir", "there").typed_with("--run-dir", "here")
    command = data_build_command(typed, DataDir(Path("there")))
    assert command == f"puna data build {tiny_toml} --data-dir there"


def test_a_new_run_from_a_run_names_its_model_and_its_directory_once(tiny: Recipe, tiny_toml: Path) -> None:
    typed = tiny.typed_with("--init-from", "model").typed_with("--data-dir", "there").typed_with("--run-dir", "runs/a")
    command = train_command(typed, *new_run_from(typed, RunDir(Path("runs/a")), Path("runs/a")))
    assert command == f"puna train {tiny_toml} --data-dir there --init-from runs/a --run-dir runs/a-2"
