"""`puna.init`: a folder becomes a recipe that loads, builds and trains as it is."""

import json
import os
from pathlib import Path
from pydoc_data import topics
from types import SimpleNamespace

import pytest

import puna
from puna.api import init as made_by
from puna.core.errors import ConfigError, DataError
from puna.data.input.sources import list_files

PAGES = [text for _, text in sorted(topics.topics.items())][:40]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty pages below the working directory, on a machine of a known rate."""
    (tmp_path / "My Texts").mkdir()
    for number, page in enumerate(PAGES):
        (tmp_path / "My Texts" / f"{number:02}.md").write_text(page)
    monkeypatch.setattr(made_by, "_machine", lambda: ("2 CPU cores", 2e11, "fp32", 4096))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "My Texts"


def test_a_folder_becomes_a_model_without_a_change(folder: Path, tmp_path: Path) -> None:
    made = puna.init("My Texts")
    assert made.path == Path("my-texts.toml")
    recipe = puna.recipe(made)
    assert (recipe.name, recipe.data.sources["text"].path, recipe.data.sources["text"].format) == (
        "my-texts", "My Texts", "text",
    )  # fmt: skip
    quick = {
        "train.tokens": 4096, "train.batch_tokens": 1024, "train.micro_batch_tokens": 1024, "train.compile": False,
        "optim.warmup_steps": 1, "samples.prompts": [],
    }  # fmt: skip
    short = puna.recipe(made, quick)
    run = puna.train(short, puna.build_data(short))
    assert puna.load(run).generate("The", max_tokens=2)


def test_every_value_has_its_reason_beside_it(folder: Path) -> None:
    text = puna.init("My Texts").path.read_text()
    for words in (
        "# 40 files with 40 documents and ", "languages: en 100 %", "Hoffmann et al.", "Muennighoff et al.",
        "# relative to this file", "n_kv_heads, head_dim and ffn_dim follow from these", 'prompts = ["',
    ):  # fmt: skip
        assert words in text
    assert "ffn_dim =" not in text


def test_recipe_elsewhere_names_the_folder_from_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    made = puna.init("My Texts", "recipes/mine.toml")
    assert 'path = "../My Texts"' in made.path.read_text()
    assert puna.recipe(made).name == "mine"
    assert puna.recipe(made).data.sources["text"].path == "My Texts"
    absolute = puna.init(folder, name="second")
    assert puna.recipe(absolute).data.sources["text"].path == str(folder)


def test_recipe_of_the_working_directory_never_reads_what_puna_writes_there(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    for name in ("data/mine/card.md", "runs/mine/notes.md", "data/other/page.md"):
        path = Path(name)
        path.parent.mkdir(parents=True)
        path.write_text("Some words.")
    source = puna.recipe(puna.init(".", name="mine")).data.sources["text"]
    found = {file.name for file in list_files("text", source)}
    assert found == {f"{number:02}.md" for number in range(40)} | {"data/other/page.md"}
    assert {"mine.toml", "data/mine/**", "runs/mine/**"} <= {*source.exclude}


def test_file_that_is_there_is_replaced_only_by_force(folder: Path) -> None:
    Path("my-texts.toml").write_text("mine")
    with pytest.raises(DataError, match=r"my-texts.toml: is there already") as caught:
        puna.init("My Texts")
    assert "--force" in caught.value.hint
    assert Path("my-texts.toml").read_text() == "mine"
    puna.init("My Texts", force=True)
    assert puna.recipe("my-texts.toml").name == "my-texts"


def test_wrong_arguments_are_sentences_and_write_nothing(folder: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match="nowhere: is not there"):
        puna.init("nowhere")
    with pytest.raises(ConfigError, match=r"--name '\.\./x'"):
        puna.init("My Texts", name="../x")
    with pytest.raises(ConfigError, match=r"ends in \.toml"):
        puna.init("My Texts", "mine.txt")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("folder_name", "name"),
    [("Größe v1.2", "groe-v1.2"), ("日本語", "first"), ("-_x", "x"), ("Ünï Texts", "uni-texts")],
)
def test_names_come_from_the_folder_whatever_it_is_called(folder: Path, folder_name: str, name: str) -> None:
    folder.rename(folder.parent / folder_name)
    assert puna.init(folder_name).path == Path(f"{name}.toml")
    assert puna.recipe(f"{name}.toml").name == name


def test_link_to_a_file_is_read_where_the_file_lies(folder: Path, tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": page}) + "\n" for page in PAGES)
    (folder / "rows.jsonl").write_text(rows)
    Path("link.jsonl").symlink_to(folder / "rows.jsonl")
    source = puna.recipe(puna.init("link.jsonl")).data.sources["jsonl"]
    assert [file.name for file in list_files("jsonl", source)] == ["rows.jsonl"]


def test_folder_whose_name_no_recipe_can_hold_is_a_sentence(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    folder.rename(folder.parent / name)
    with pytest.raises(DataError, match="is not UTF-8, as paths in a recipe are"):
        puna.init(name)


def test_known_gpu_decides_rate_and_precision_and_else_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*arguments: object, **options: object) -> SimpleNamespace:
        return SimpleNamespace(returncode=0, stdout="Unknown\nNVIDIA H100 80GB HBM3\n")

    monkeypatch.setattr(made_by.shutil, "which", lambda name: "/bin/nvidia-smi")
    monkeypatch.setattr(made_by.subprocess, "run", ask)
    name, flops, precision, micro = made_by._machine()
    assert (name, flops, precision, micro) == ("NVIDIA H100 80GB HBM3", 989e12, "bf16", 16_384)
    monkeypatch.setattr(made_by.shutil, "which", lambda name: None)
    monkeypatch.setattr("puna.plan.target.sgemm_rate", lambda: 1e11)
    assert made_by._machine()[1:] == (1e11, "fp32", 4096)
