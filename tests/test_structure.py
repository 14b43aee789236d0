"""The shape of the tree: tests mirror modules, files stay short, and what needs no torch imports without it."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "puna"
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if path.name != "__init__.py")
LONGEST_FILE = 450
TORCH_FREE = (
    "api", "benchmarks", "chat", "cli", "config", "core", "plan", "tokenizer", "shards", "data", "report", "serve"
)  # fmt: skip

TESTED_ELSEWHERE = {
    "__main__.py": "two lines that call cli.main; tests/cli runs them as `python -m puna`",
    "core/version.py": "one value; tests/test_puna.py compares it with the package's",
    "cli/app.py": "the table of commands; tests/cli/test_cli.py reads it from --help",
    "cli/arguments.py": "declarations of arguments; tests/cli/test_cli.py runs them",
    "formats/format.py": "records; tests/formats/test_registry.py checks options, test_plugin.py adds a format",
    "tokenizer/engine.py": "tests/tokenizer/test_json_parts.py makes engines and turns their errors into sentences",
    "tokenizer/sentencepiece_added.py": "tests/tokenizer/test_added.py extends models in every layout of files",
    "formats/containers/dtypes.py": "one table of names",
    "formats/easylm/forms.py": "tables of names; tests/formats/easylm/test_write.py writes each form",
    "formats/gguf/file_types.py": "tables of names; tests/formats/gguf/test_mix.py and test_write.py write each type",
    "search/format.py": "tests/search/test_index.py reads damaged and foreign records",
    "search/kernel.py": "tests/search/test_index.py and test_suffixes.py compare it with slow searches",
    "search/lattice.py": "tests/search/test_index.py compares what it finds with slow searches",
    "formats/native/write.py": "tests/formats/native/test_read.py reads what it writes",
    **{
        f"formats/{name}/format.py": "a record; tests/formats/test_registry.py and test_export_model.py use all of it"
        for name in ("easylm", "gguf", "hf", "llama", "llama2c", "moment", "native", "openlm")
    },
    "infer/source.py": "a protocol; tests/formats/gguf/test_read.py and tests/formats/test_checkpoint.py read sources",
    "formats/checked_tokenizer.py": "tests/formats/test_import_model.py imports with and without one",
    "model/description.py": "tests/model/test_files.py writes, reads and damages model.toml",
    "cli/inspect_model.py": "declares its arguments and prints; tests/cli/test_import_.py runs it",
    "cli/recipes.py": "prints what tests/config checks",
    "report/template.py": "tests/report/test_page.py and test_compare_page.py render its two pages",
    "cli/report.py": "declares its arguments and calls puna.report",
    "cli/run.py": "declares its arguments and calls puna.run",
    "cli/tokenizer.py": "declares its arguments and calls puna.train_tokenizer",
    "cli/models.py": "declares arguments; tests/cli/test_data.py runs its commands",
    "core/schema/card.py": "fields; tests/report/test_damage.py damages each in turn",
    "core/schema/export.py": "fields; tests/report/test_damage.py damages each in turn",
    "core/schema/lines.py": "fields; tests/report/test_read.py reads them, tests/train/test_metrics.py writes them",
    "core/schema/run.py": "fields; tests/report/test_damage.py damages each in turn",
    "data/text/kernel_constants.py": "constants; tests/data/text compares the passes that share them",
    "data/spec.py": "records; tests/data/test_table.py reads all of them",
    "data/readers/wikitext_marks.py": "constants; tests/data/readers/test_wikitext_lines.py uses them",
    "data/document.py": "records and protocols; tests/data/readers and tests/data/rules use them all",
    "cli/tune.py": "declares its arguments and calls train/tune.py",
    "cli/verify.py": "declares its arguments and calls train/verify.py",
    "parallel/objective.py": "tests/parallel/test_apply.py compares it with one process in every layout",
    "parallel/tensor.py": "tests/parallel/test_apply.py compares it with one process in every layout",
    "train/job.py": "tests/train/test_pretrain.py carries it out through every kind of interruption",
    "train/finish.py": "tests/train/test_pretrain.py reads the record that it writes",
    "train/loop.py": "tests/train/test_session.py takes its steps, tests/train/test_pretrain.py what is due after them",
    "train/measure.py": "tests/train/test_tune.py runs it",
    "train/samples.py": "tests/train/test_pretrain.py reads what it writes, and what it refuses",
    "train/synthetic.py": "tests/train/test_waiting.py takes its steps, tests/train/test_tune.py measures them",
    "ops/cpu/attention.py": "tests/ops/test_blocked.py compares it with its twins, tests/ops/test_cpu.py builds it",
    "ops/reference.py": "the oracles; tests/ops compares the fast operations and torch's with them",
    "evaluate/example.py": "records; tests/evaluate/test_lines.py writes and reads them all",
    "evaluate/task.py": "records; tests/evaluate/test_registry.py checks those of every task",
    "evaluate/protocols.py": "records; tests/evaluate/test_registry.py compares those of all tasks with them",
    "evaluate/backend.py": "a protocol; tests/evaluate/backends and tests/fixtures/evaluating.py implement it",
    "serve/served_model.py": "protocols; tests/fixtures/in_process.py implements them for tests/serve",
    "serve/dependencies.py": "what every route takes; tests/serve/routes/test_completions.py names models and callers",
    "serve/schema/error.py": "fields; tests/serve/test_app.py compares answers with the schema",
    "serve/schema/models.py": "fields; tests/serve/test_app.py compares answers with the schema",
    "serve/schema/health.py": "fields; tests/serve/test_app.py compares answers with the schema",
    "serve/schema/fields.py": "fields; tests/serve/routes/test_completions.py gives and refuses them",
    "serve/schema/response_answer.py": "fields; tests/serve/routes/test_responses.py compares every answer with them",
    "serve/schema/easylm.py": "fields; tests/serve/routes/test_easylm.py gives and refuses them",
    "serve/schema/apply_template.py": "fields; tests/serve/routes/test_apply_template.py gives and refuses them",
    "serve/schema/tokenizer.py": "fields; tests/serve/routes/test_tokenizer.py gives and refuses them",
    "serve/schema/completions.py": "fields; tests/serve/routes/test_completions.py gives and refuses them",
    "api/evaluated.py": "tests/api/test_evaluate.py evaluates runs, moments and other models",
    "serve/limits.py": "numbers; tests/serve/test_admission.py and tests/serve/test_connection.py reach each of them",
    "serve/asgi.py": "tests/serve/test_admission.py and tests/serve/test_connection.py read its refusals",
    "finetune/packing_kernel.py": "tests/finetune/test_packing.py compares its packs with the obvious ones",
    "finetune/part_writer.py": "tests/finetune/test_tokens.py reads back what it writes",
    "api/tuned_model.py": "tests/api/test_finetune.py tunes models with and without a template, and resumes",
    "finetune/begin.py": "tests/api/test_finetune.py begins and resumes runs with it",
    "finetune/build.py": "tests/api/test_finetune.py tunes with and without a build",
    "finetune/chat_samples.py": "tests/api/test_finetune.py reads what it writes",
    "finetune/leave.py": "tests/api/test_finetune.py reads what it leaves",
    "finetune/tuning.py": "tests/api/test_finetune.py carries it out",
    "config/parallel.py": "numbers; tests/parallel lays runs out by them",
    "api/evaluator.py": "tests/evaluate/test_training.py trains with it",
    "cli/train.py": "declares its arguments and calls puna.train",
}


def test_every_module_has_its_tests_or_a_reason() -> None:
    untested = [
        str(module)
        for module in MODULES
        if not (ROOT / "tests" / module.parent / f"test_{module.name}").exists() and str(module) not in TESTED_ELSEWHERE
    ]
    assert untested == []


def test_reasons_are_given_only_for_modules_without_tests_and_cite_tests_that_exist() -> None:
    for name, reason in TESTED_ELSEWHERE.items():
        module = Path(name)
        assert module in MODULES
        assert not (ROOT / "tests" / module.parent / f"test_{module.name}").exists()
        for cited in re.findall(r"(?:tests|cli|infer|train)/[\w/.]+", reason):
            assert (ROOT / cited).exists() or (SOURCE / cited).exists(), f"{name}: {reason}"


@pytest.mark.parametrize("folder", ["src", "tests", "bench"])
def test_no_file_is_too_long_to_read(folder: str) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert lengths
    assert {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > LONGEST_FILE} == {}


@pytest.mark.parametrize("layer", TORCH_FREE)
def test_layer_imports_where_torch_is_not_installed(layer: str) -> None:
    """All modules of the layer, with torch and what else only training needs blocked."""
    modules = [f"puna.{'.'.join(path.with_suffix('').parts)}" for path in MODULES if path.parts[0] == layer]
    assert modules
    import_without_torch(modules)


def test_the_command_line_lists_formats_where_torch_is_not_installed() -> None:
    import_without_torch(["puna.formats.registry"])


def test_names_of_tests_do_not_depend_on_when_they_are_collected(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(
        "import gzip, pytest, os\n"
        "@pytest.mark.parametrize('packed', [gzip.compress(b'x', mtime=int(os.environ['NOW'])), b'plain', b'\\n'])\n"
        "def test_it(packed): pass\n"
    )
    names = []
    for now in ("1", "2000000000"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NOW", now)
            names.append(pytester.runpytest_subprocess("--collect-only", "-q").outlines[:3])
    assert names[0] == names[1]
    assert [name.partition("[")[2] for name in names[0]] == ["packed0]", "plain]", "packed1]"]


def test_no_list_of_cases_has_the_order_of_a_set() -> None:
    """Processes that share the tests would come to different names."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "parametrize":
                found += [
                    f"{path.relative_to(ROOT)}:{node.lineno}" for node in call.args[1:2] for node in _unsorted(node)
                ]
    assert found == []


def _unsorted(node: ast.AST) -> Iterator[ast.expr]:
    """The sets that an expression goes through in their own order."""
    match node:
        case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")):
            yield node
            return
        case ast.Call(func=ast.Name(id="list" | "tuple" | "zip" | "enumerate"), args=inner):
            pass
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            inner = [element.value for element in elements if isinstance(element, ast.Starred)]
        case ast.ListComp(generators=loops) | ast.GeneratorExp(generators=loops):
            inner = [loop.iter for loop in loops]
        case ast.BinOp(left=left, right=right):
            inner = [left, right]
        case _:
            return
    for child in inner:
        yield from _unsorted(child)


def test_what_trains_does_not_import_where_torch_is_not_installed() -> None:
    """The check can fail."""
    with pytest.raises(AssertionError, match="import of torch halted"):
        import_without_torch(["puna.train.optimizer"])


def import_without_torch(modules: list[str]) -> None:
    """Import modules in a process where torch and what else only training needs cannot be found."""
    blocked = "import sys\nsys.modules |= dict.fromkeys(['torch', 'transformers', 'safetensors', 'tensorboard'])\n"
    code = blocked + "".join(f"import {module}\n" for module in modules)
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
