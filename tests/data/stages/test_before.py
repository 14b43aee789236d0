"""What is said before hours of reading: by names, sizes and packages alone."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import DataError, UserError
from puna.core.layout import DataDir
from puna.data.input_file import InputFile
from puna.data.stages import before
from puna.data.stages.before import check_input, check_packages


def files(*names: str, root: str = "/in", size: int = 1) -> list[InputFile]:
    return [InputFile(f"{root}/{name}", name, size, "") for name in names]


MANY = [f"{number:02}.txt" for number in range(40)]


@pytest.fixture
def check(recipe: Recipe, out: DataDir, changed, capsys):
    """Checks the shelf's recipe with other settings of its poems and their files; returns what is warned of."""

    def run(names: list[str], code: list[InputFile] | None = None, size: int = 1, **settings: object) -> str:
        values = {f"sources__poems__{key}": value for key, value in settings.items()}
        found = {"poems": files(*names, size=size), "code": code or files(*MANY, root="/code")}
        check_input(changed(recipe, **values), out, found)
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("names", "settings", "sentence"),
    [
        (["read/1.txt"], {}, "for the heldout split: heldout_pattern = '^kept/' holds out none of its 1 files"),
        (["kept/1.txt"], {}, "for the train split: heldout_pattern = '^kept/' holds out all of its 1 files"),
        (
            MANY[:3],
            {"heldout_pattern": "", "heldout_fraction": 0.0001},
            "for the heldout split: heldout_fraction = 0.0001 holds out none of its 3 files, each of which is a docu",
        ),
    ],
)
def test_a_split_that_would_have_no_document_is_refused_where_each_file_is_one(check, names, settings, sentence):
    with pytest.raises(DataError, match=f"source 'poems': no document is left {sentence}".replace("^", r"\^")):
        check(names, **settings)


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (["kept/1.txt", "read/1.txt"], {}),
        (["1.tar.gz"], {}),  # its members' names are not known
        (["1.jsonl"], {"format": "jsonl"}),
    ],
)
def test_what_cannot_be_known_is_not_refused(check, names, settings):
    assert check(names, **settings) == ""


def test_files_that_the_recipe_names_and_that_are_missing_are_warned_of(check):
    names = ["kept/1.txt", "read/1.txt"]
    err = check(names, include=["kept/1.txt", "read/2.txt", "other/*.txt"])
    assert err == "warning: source 'poems': include names 'read/2.txt', which is not there\n"


def test_files_of_two_sources_are_warned_of(check):
    names = ["kept/1.txt", "read/1.txt"]
    err = check(names, [*files(*names), *files(*MANY, root="/code")])
    assert err == "warning: the sources poems and code read the same: /in/kept/1.txt and 1 more\n"


def test_a_disk_with_less_room_than_the_input_is_warned_of(check, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(before.shutil, "disk_usage", lambda path: SimpleNamespace(free=10 << 20))
    assert "10.0 MiB are free, the input has 20.0 MiB" in check(["kept/1.txt", "read/1.txt"], size=10 << 20)


def test_a_mixture_that_no_run_can_start_with_is_warned_of(check, monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments: object) -> None:
        raise DataError("mixture.code is too small")

    monkeypatch.setattr(before, "Mixture", refuse)
    assert "no run with this mixture can start: mixture.code is too small" in check(["kept/1.txt", "read/1.txt"])


@pytest.mark.parametrize(("package", "executor"), [("sentencepiece", "local"), ("jinja2", "local"), ("ray", "ray")])
def test_a_package_that_a_later_step_needs_is_asked_for_first(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, package: str, executor
):
    check_packages(recipe, "local")
    monkeypatch.setattr(before, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(UserError, match=f"the package '?{package}'?"):
        check_packages(recipe, executor)


def test_the_disk_is_that_of_the_build_even_before_its_directory_is_there(recipe: Recipe, tmp_path: Path, monkeypatch):
    asked: list[Path] = []
    usage = SimpleNamespace(free=1 << 40)
    monkeypatch.setattr(before.shutil, "disk_usage", lambda path: asked.append(path) or usage)
    found = {"poems": files("kept/1.txt", "read/1.txt"), "code": files(*MANY, root="/code")}
    check_input(recipe, DataDir(tmp_path / "not" / "yet"), found)
    assert asked == [tmp_path]


def source_with(path: Path, **values: object) -> tuple[Recipe, dict[str, list[InputFile]]]:
    """A recipe of one source, whose files are those of a folder."""
    table = {"path": str(path), "include": ["**/*"], "heldout_fraction": 0.5} | values
    recipe = Recipe.model_validate({"name": "x", "data": {"sources": {"mine": table}}, "mixture": {"mine": 1.0}})
    found = sorted(path.iterdir())
    return recipe, {"mine": [InputFile(str(file), file.name, file.stat().st_size, "") for file in found]}


def test_format_is_told_where_endings_decided_it_and_asked_for_where_they_might_have(tmp_path: Path, capsys) -> None:
    folder, out = tmp_path / "in", DataDir(tmp_path / "out")
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.jsonl").write_text('{"text": "Some words."}\n')
    recipe, found = source_with(folder, include=["*.jsonl"])
    check_input(recipe, out, found)
    assert "source 'mine': read as jsonl, by the endings in its include" in capsys.readouterr().err
    recipe, found = source_with(folder)
    with pytest.raises(
        DataError, match=r"8 of 8 files, such as 0\.jsonl, would each be read as one document"
    ) as caught:
        check_input(recipe, out, found)
    assert caught.value.hint == 'set data.sources.mine.format to "jsonl", or to "text" if that is meant'
    recipe, found = source_with(folder, format="text")
    check_input(recipe, out, found)
    assert 'data.sources.mine.format = "jsonl" reads what is in them' in capsys.readouterr().err


def test_column_that_no_row_has_is_refused_with_the_columns_that_are_there(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", DataDir(tmp_path / "out")
    folder.mkdir()
    (folder / "rows.jsonl").write_text('{"id": 1, "body": "Some words of a text."}\n' * 3)
    recipe, found = source_with(folder, format="jsonl")
    with pytest.raises(
        DataError, match=r"text_field = 'text', but the first 3 rows of rows\.jsonl have no text"
    ) as caught:
        check_input(recipe, out, found)
    assert "there are id, body" in str(caught.value)
    assert caught.value.hint == 'set data.sources.mine.text_field to the column of the text, such as "body"'
    recipe, found = source_with(folder, format="jsonl", text_field="body")
    check_input(recipe, out, found)
