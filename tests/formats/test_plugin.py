"""A format that an installed package adds: it is listed, written, recognised, read and proved like Puna's own."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from puna.core.errors import ExportError, FormatError, UserError
from puna.formats.checkpoint import Hints
from puna.formats.export_model import Options, export_model
from puna.formats.import_model import import_model
from puna.formats.native.write import write_native
from puna.formats.proof.equivalence import Text
from puna.formats.registry import BUILT_IN, format_named, formats, recognise
from puna.model.files import load_model
from puna.tokenizer.tokenizer import Tokenizer

TINY = """
import json
from pathlib import Path

from puna.formats.format import Format, Option

CHECK = Option(name="level", help="of compression; 1 where it is left out")
FORM = Option(name="form", help="what it is called", choices=("plain", "fancy"))


def is_tiny(path):
    return (path / "tiny.json").is_file()


def read(path, hints):
    import numpy as np
    import torch

    from puna.formats.checkpoint import Checkpoint, Stored, model_config

    arrays = np.load(path / "tiny.npz")

    class TinyCheckpoint(Checkpoint):
        format = "tiny"

        def tensor(self, name):
            return torch.from_numpy(arrays[name])

        def tokenizer(self):
            from puna.tokenizer.load import find_tokenizer, load_tokenizer

            return load_tokenizer(path) if find_tokenizer(path) else None

    stored = {name: Stored("float32", array.nbytes) for name, array in arrays.items()}
    config = model_config(path, json.loads((path / "tiny.json").read_text())["model"])
    return TinyCheckpoint(path, config, stored)


def write(source, job):
    import numpy as np

    np.savez(job.directory / "tiny.npz", **{name: source.tensor(name).numpy() for name in source.weights})
    settings = {"model": source.config.model_dump(exclude_none=True), "options": dict(job.options), "name": job.name}
    (job.directory / "tiny.json").write_text(json.dumps(settings))
    if job.tokenizer is not None:
        (job.directory / job.tokenizer.file).write_bytes(job.tokenizer.content)
    return ["written by a plug-in"]


TINY = Format(
    name="tiny", title="tiny directory", recognises=is_tiny, reader=read, writer=write, options=(CHECK, FORM)
)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of packages in which the distribution `tiny-format` is installed."""
    site = tmp_path / "site"
    info = site / "tiny_format-1.dist-info"
    info.mkdir(parents=True)
    (site / "tiny_format.py").write_text(TINY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-format\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[puna.formats]\ntiny = tiny_format:TINY\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "tiny_format", raising=False)
    return site


@pytest.fixture
def model(source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    write_native(source(), tokenizer, tmp_path / "model", inputs={}, results={})
    return tmp_path / "model"


def puna(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "puna", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_it_is_written_recognised_read_and_proved(site: Path, model: Path, tmp_path: Path) -> None:
    options = Options(of_format={"level": "3", "form": "fancy"})
    results = export_model(model, "tiny", tmp_path / "out", Text("a text", "x"), options)
    assert (results.weights.identical, results.notes) == (21, ["written by a plug-in"])
    assert results.choices == ["--level", "3", "--form", "fancy"]
    assert results.oracle is None
    assert results.tokenizer is not None
    assert '"options": {"level": 3, "form": "fancy"}' in (tmp_path / "out" / "tiny.json").read_text()
    assert recognise(tmp_path / "out").name == "tiny"
    import_model(tmp_path / "out", tmp_path / "again", Hints())
    first, again = load_model(model).model, load_model(tmp_path / "again").model
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_its_options_are_checked_and_named_where_they_do_not_belong(site: Path, model: Path, tmp_path: Path) -> None:
    def refusal(to: str, **given: str) -> UserError:
        with pytest.raises(ExportError) as caught:
            export_model(model, to, tmp_path / "out", Text("a text", "x"), Options(of_format=given))
        return caught.value

    assert refusal("tiny", level="x").message == "--level x: expected a whole number from 1 for --to tiny"
    assert refusal("tiny", form="odd").message == "--form odd: expected one of plain, fancy for --to tiny"
    assert refusal("hf", level="1").message == "--level is a choice of --to tiny, not of --to hf"
    assert refusal("hf", form="x").message == "--form is a choice of --to easylm and tiny, not of --to hf"
    assert refusal("tiny", type="x").hint == "tiny has --level, --form"


def test_its_name_must_be_its_own(site: Path) -> None:
    assert [form.name for form in formats()] == [*(form.name for form in BUILT_IN[:-1]), "tiny", BUILT_IN[-1].name]
    points = site / "tiny_format-1.dist-info" / "entry_points.txt"
    points.write_text("[puna.formats]\nother = tiny_format:TINY\n")
    with pytest.raises(FormatError, match="'other' is a format called 'tiny', but its entry point is called 'other'"):
        format_named("hf")


def test_the_help_of_the_export_lists_it_and_other_help_does_not_load_it(site: Path) -> None:
    shown = puna(site, "export", "--help").stdout
    assert "|openlm|tiny>" in shown
    assert "tiny: tiny directory" in shown
    assert "tiny: of compression; 1 where it is left out" in shown
    assert "easylm: which of its files; params where it is left out; tiny: what it is called" in shown
    (site / "tiny_format.py").write_text("raise RuntimeError('no code of mine is needed')")
    assert puna(site, "--help").returncode == 0


def test_an_option_cannot_have_the_name_of_one_that_every_export_has(site: Path) -> None:
    (site / "tiny_format.py").write_text(TINY.replace('name="level"', 'name="dtype"'))
    with pytest.raises(
        UserError, match="'tiny-format' cannot be imported: ValueError: an option cannot be called 'dtyp"
    ):
        formats()


def test_one_that_is_broken_is_one_sentence_that_names_its_distribution(site: Path) -> None:
    (site / "tiny_format.py").write_text("import nowhere_to_be_found")
    done = puna(site, "export", "--help")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "puna.formats: 'tiny' of the distribution 'tiny-format' cannot be imported" in done.stderr


def test_the_format_of_the_guide_is_written_recognised_and_read(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "extend.md").read_text(encoding="utf-8")
    section = guide.partition("\n## A format\n")[2].partition("\n## ")[0]
    code, points = re.findall(r"```(?:python|toml)\n(.*?)```", section, re.DOTALL)
    info = tmp_path / "site" / "arrays_format-1.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "site" / "arrays_format.py").write_text(code)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: arrays-format\nVersion: 1\n")
    [(name, target)] = tomllib.loads(points)["project"]["entry-points"]["puna.formats"].items()
    (info / "entry_points.txt").write_text(f"[puna.formats]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "arrays_format", raising=False)
    options = Options(of_format={"packed": "yes"})
    results = export_model(model, "arrays", tmp_path / "out", Text("a text", "x"), options)
    assert results.weights.identical == results.weights.tensors == 21
    assert recognise(tmp_path / "out").title == "directory of NumPy arrays"
    import_model(tmp_path / "out", tmp_path / "again", Hints())
    first, again = load_model(model).model, load_model(tmp_path / "again").model
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
