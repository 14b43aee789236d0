"""A comparison at a terminal: figures, differences and samples, in any width and encoding."""

import io
from pathlib import Path

import pytest
from compared_runs import compared_run
from rich.console import Console

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.report.compare_text import describe
from puna.report.comparison import Comparison
from puna.report.read_compared import read_comparison


@pytest.fixture
def found(tiny: Recipe, tiny_toml: Path, tmp_path: Path) -> Comparison:
    low = load_recipe(str(tiny_toml), {"optim.lr": 3e-3}).recipe
    return read_comparison(
        [compared_run(tmp_path / "one", tiny), compared_run(tmp_path / "two", low, level=3.9, text="\x1b[2J of it")]
    )


def shown(found: Comparison, width: int = 120, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace", write_through=True)
    console = Console(file=file, width=width, highlight=False, markup=False, emoji=False)
    for part in describe(found, console):
        console.print(part)
    file.seek(0)
    return file.read()


def test_figures_are_one_line_for_each_run(found: Comparison):
    lines = [line.split() for line in shown(found).splitlines()]
    assert ["run", "mean", "prose", "code", "tokens", "tokens/s", "MFU", "time", "energy"] in lines
    assert ["one", "3.0500", "2.8000", "3.8000", "6.14k", "128", "50.0%", "48", "s", "4", "Wh"] in lines


def test_what_is_too_wide_for_one_table_is_two(found: Comparison):
    lines = [line.split() for line in shown(found, 60).splitlines()]
    assert ["run", "mean", "prose", "code"] in lines
    assert ["run", "tokens", "tokens/s", "MFU", "time", "energy"] in lines
    assert ["two", "2.9500", "2.7000", "3.7000"] in lines
    assert ["two", "6.14k", "128", "50.0%", "48", "s", "4", "Wh"] in lines


def test_differences_and_samples_stand_side_by_side(found: Comparison):
    lines = [" ".join(line.split()) for line in shown(found).splitlines()]
    assert {"run optim.lr", "one 0.01", "two 0.003"} <= set(lines)
    assert r"we the people \x1b[2J of it" in lines


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_broken(found: Comparison, width: int):
    text = shown(found, width)
    assert max(map(len, text.splitlines())) <= width
    for figure in ("3.0500", "2.9500", "6.14k", "50.0%"):
        assert figure in text


def test_a_terminal_without_braille_gets_letters(found: Comparison):
    assert "⠒" in shown(found) or "⠤" in shown(found)
    assert "a one" in shown(found, encoding="ascii")
    assert not any(0x2800 <= ord(character) < 0x2900 for character in shown(found, encoding="ascii"))


def test_few_keys_of_many_runs_are_columns(tiny_toml: Path, tmp_path: Path):
    runs = [
        compared_run(tmp_path / f"r{rate}", load_recipe(str(tiny_toml), {"optim.lr": rate}).recipe)
        for rate in (0.01, 0.02, 0.03)
    ]
    lines = [line.split() for line in shown(read_comparison(runs)).splitlines()]
    assert ["run", "optim.lr"] in lines
    assert ["r0.02", "0.02"] in lines
    many = {"optim.lr": 0.5, "optim.beta1": 0.8, "optim.beta2": 0.8, "optim.eps": 1e-6, "seed": 5}
    runs[0] = compared_run(tmp_path / "many", load_recipe(str(tiny_toml), many).recipe)
    lines = [line.split() for line in shown(read_comparison(runs)).splitlines()]
    assert ["key", "many", "r0.02", "r0.03"] in lines
    assert ["seed", "5", "3", "3"] in lines


def test_equal_recipes_are_said_to_be_so(tiny: Recipe, tmp_path: Path):
    runs = [compared_run(tmp_path / name, tiny, steps=0) for name in ("one", "two")]
    text = shown(read_comparison(runs))
    assert "the recipes are the same" in text
    assert "one is not finished: step 0 of 24." in text
