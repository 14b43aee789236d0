"""Writes docs/api.md from the docstrings and signatures of `import puna`: python docs/api_page.py.

tests/test_api_page.py says when the page is out of date.
"""

import ast
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import puna

PAGE = Path(__file__).with_name("api.md")
FUNCTIONS = (
    "init", "recipe", "plan", "build_data", "train_tokenizer", "index_data", "find", "train", "finetune",
    "show_batch", "load", "trace", "perplexity",
    "evaluate", "evaluate_checkpoints", "serve", "bench_infer",
    "export", "import_model", "inspect", "report", "compare", "sweep", "run",
)  # fmt: skip
"""In the order in which they are used."""
CLASSES = (
    "LanguageModel",
    "GenerateOptions",
    "Guide",
    "Perplexity",
    "TextLoss",
    "Evaluation",
    "RunEvaluation",
    "Sweep",
    "ModelInfo",
    "Export",
    "Comparison",
    "TrainingSweep",
    "StarterRecipe",
    "Plan",
    "RunDir",
    "DataDir",
    "EvaluationDir",
    "Recipe",
    "UserError",
)
_WIDTH = 100
"""Characters of a signature that stands on one line."""
INTRODUCTION = """# The Python API

`import puna` takes no time: each name is imported when it is first used, and with it what it needs (`torch` for models
and training, the `data` extra for `build_data`). The commands call the same functions, so what they refuse, what they
skip and what they print on stderr is the same; a keyword bears the name of the command's option.

- A recipe may be a name (`"demo"`), a path to a `.toml`, or what `puna.recipe` returned.
- A path may be a string, a `pathlib.Path`, or a `RunDir` or `DataDir` that a function returned.
- What a user can cause raises a `puna.UserError`: `str(error)` is one sentence and, where there is something to do, a
  hint. Its kinds are in `puna.core.errors`.
- A script that builds data does so under `if __name__ == "__main__":`, as each that starts processes.

`examples/` holds scripts to copy. This page is written by `python docs/api_page.py`.
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [
        INTRODUCTION,
        "## Functions\n",
        *(_function(getattr(puna, name), f"puna.{name}", "###") for name in FUNCTIONS),
    ]
    parts += ["## What they return\n", *(_class(getattr(puna, name)) for name in CLASSES)]
    return "\n".join(parts) + "\n`puna.__version__` is the version.\n"


def signature(function: Any, name: str) -> str:
    """The call as the source has it, annotations without quotes; on one line where it fits."""
    node = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body[0]
    assert isinstance(node, ast.FunctionDef)
    values = inspect.signature(function).parameters
    rows = [_argument(argument, values[argument.arg].default) for argument in node.args.args if argument.arg != "self"]
    if node.args.kwonlyargs:
        rows += ["*", *(_argument(argument, values[argument.arg].default) for argument in node.args.kwonlyargs)]
    if node.args.kwarg:
        rows.append(f"**{_argument(node.args.kwarg, inspect.Parameter.empty)}")
    assert node.returns is not None
    line = f"{name}({', '.join(rows)}) -> {_type(node.returns)}"
    broken = ",\n    ".join(rows)
    return line if len(line) <= _WIDTH else f"{name}(\n    {broken},\n) -> {_type(node.returns)}"


def _argument(argument: ast.arg, default: object) -> str:
    assert argument.annotation is not None
    given = "" if default is inspect.Parameter.empty else f" = {default!r}"
    return f"{argument.arg}: {_type(argument.annotation)}{given}"


def _type(annotation: ast.expr) -> str:
    return annotation.value if isinstance(annotation, ast.Constant) and annotation.value else ast.unparse(annotation)


def _function(function: Any, name: str, heading: str) -> str:
    return f"{heading} {name}\n```python\n{signature(function, name)}\n```\n{_markdown(_doc(function))}\n"


def _class(kind: type) -> str:
    parts = [f"### puna.{kind.__name__}\n{_markdown(_own_doc(kind))}\n"]
    if kind.__name__ in ("Recipe", "UserError"):
        return parts[0]
    attributes = [f"- `{name}`: {said}" for name, said in _attributes(kind)]
    if attributes:
        parts.append("\n".join(attributes) + "\n")
    for name, member in vars(kind).items():
        if not name.startswith("_") and inspect.isfunction(member):
            parts.append(_function(member, name, "####"))
    return "\n".join(parts)


def _doc(function: Any) -> str:
    return inspect.getdoc(inspect.unwrap(function)) or ""


def _own_doc(kind: type) -> str:
    """What the class is; how it is made is nobody's business here."""
    return inspect.cleandoc(kind.__doc__ or "").partition("\n\nArgs:")[0]


def _attributes(kind: type) -> list[tuple[str, str]]:
    """Fields with the text below them, and properties with their first paragraph."""
    found = []
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    for node, after in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            found.append((node.target.id, str(text) or ast.unparse(node.annotation).strip("'")))
        elif isinstance(node, ast.FunctionDef) and any("property" in ast.unparse(d) for d in node.decorator_list):
            found.append((node.name, (ast.get_docstring(node) or "").partition("\n\n")[0]))
    return [(name, " ".join(text.split())) for name, text in found]


def _markdown(doc: str) -> str:
    """A Google-style docstring, its sections as lists."""
    lines = []
    for block in re.split(r"\n\n", doc):
        title, _, rest = block.partition("\n")
        if title in ("Args:", "Raises:"):
            entries = re.split(r"\n(?=\S)", inspect.cleandoc(rest))
            rows = (" ".join(entry.split()).partition(": ") for entry in entries)
            lines.append("\n".join(f"- `{name}`: {said}" for name, _, said in rows))
            if title == "Raises:":
                lines[-1] = f"Raises:\n\n{lines[-1]}"
        elif title == "Returns:":
            lines.append("Returns: " + " ".join(rest.split()))
        else:
            lines.append(block)
    return "\n\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
