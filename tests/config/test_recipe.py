"""The recipe as a whole: derived values, warnings that stay quiet, and no setting that nobody reads."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

import puna
from puna.config.data import Source
from puna.config.recipe import OptimConfig, Phase, Recipe, Stage, TrainConfig
from puna.config.tasks import Pattern, TaskTemplates

CALLED: dict[type, str] = {
    Phase: "phase", Source: "source", Stage: "stage", TaskTemplates: "templates", Pattern: "pattern"
}  # fmt: skip
"""What code calls the values of sections that a recipe has several of."""
FILES = {"kind": "files", "path": "here", "include": ["*.txt"]}


def sections(model: type[BaseModel] = Recipe, name: str = "recipe") -> Iterator[tuple[str, type[BaseModel]]]:
    """The recipe's section classes, found through the types of their fields, with what code calls their values."""
    yield name, model
    for field_name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from sections(kind, CALLED.get(kind, field_name))


def attributes_read() -> set[tuple[str, str]]:
    """Each `holder.attribute` that the package reads outside the definition of the recipe."""
    found = set()
    for path in Path(puna.__path__[0]).rglob("*.py"):
        if path.parent.name == "config" and path.name in {"finetune.py", "model.py", "recipe.py", "section.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                holder = node.value
                if isinstance(holder, ast.Attribute | ast.Name):
                    name = holder.attr if isinstance(holder, ast.Attribute) else holder.id
                found.add((name.removeprefix("_"), node.attr))
    return found


OWNERS = ("config", "rules", "tuning")
"""What a section is called in the layer that it configures."""


def test_all_sections_are_found() -> None:
    assert [name for name, _ in sections()] == [
        "recipe", "data", "source", "templates", "pattern", "pattern", "pattern",
        "rules", "lines", "mojibake", "language", "perplexity", "wikipedia_like",
        "gopher_quality", "gopher_repetition", "c4", "code", "pii", "decontaminate", "dedup", "near", "contained",
        "plugins", "stage", "tokenizer", "model", "rope_scaling", "train", "parallel", "stability",
        "optim", "phase", "validation", "evaluation", "samples", "checkpoint", "metrics", "energy",
        "finetune", "lora", "preference",
    ]  # fmt: skip


def test_every_setting_is_read_somewhere() -> None:
    """A section's value is called as its key in the recipe, or `config` in the layer that it configures; the tables of
    rules are found by their names, which tests/data/test_table.py looks at."""
    read = attributes_read()
    unread = [
        f"{name}.{field}"
        for name, section in sections()
        if name != "rules"
        for field in section.model_fields
        if (name, field) not in read and (name == "recipe" or not {(owner, field) for owner in OWNERS} & read)
    ]
    assert unread == []


@pytest.mark.parametrize("section", [section for _, section in sections()])
def test_every_setting_is_described(section: type[BaseModel]) -> None:
    for name, field in section.model_fields.items():
        assert (field.description or "").endswith("."), name


def test_steps_are_whole_batches() -> None:
    recipe = Recipe(
        name="x", train=TrainConfig(tokens=10_000, batch_tokens=4096, micro_batch_tokens=2048),
        optim=OptimConfig(warmup_steps=1),
    )  # fmt: skip
    assert recipe.total_steps == 2


def test_a_run_needs_a_step_after_its_warm_up() -> None:
    train = TrainConfig(tokens=4096 * 10, batch_tokens=4096, micro_batch_tokens=4096)
    assert Recipe(name="x", train=train, optim=OptimConfig(warmup_steps=9)).total_steps == 10
    with pytest.raises(ValidationError, match=r"not more than optim\.warmup_steps = 10"):
        Recipe(name="x", train=train, optim=OptimConfig(warmup_steps=10))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"path": ""}, "kind = 'files' needs 'path'"),
        ({"kind": "package"}, "kind = 'package' needs 'package'; kind = 'package' takes no 'path'"),
        ({"kind": "python-stdlib"}, "kind = 'python-stdlib' takes no 'path'"),
        ({"heldout_pattern": "x"}, "give either heldout_pattern or heldout_fraction"),
        ({"heldout_fraction": 0.0}, "give either heldout_pattern or heldout_fraction"),
    ],
)
def test_source_takes_what_its_kind_needs_and_one_way_to_hold_out(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Source.model_validate(FILES | {"heldout_fraction": 0.1} | change)


@pytest.mark.filterwarnings("error")
def test_pattern_that_python_warns_about_is_accepted_quietly() -> None:
    assert Source.model_validate(FILES | {"heldout_pattern": "[[a]"}).heldout_pattern == "[[a]"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "x/y", "-x", "X", "x y", "x\n", "é"])
def test_name_that_is_not_a_plain_directory_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        Recipe(name=name)


@pytest.mark.parametrize(
    ("train", "parallel", "sentence"),
    [
        ({"float8": True}, {"tensor": 2}, "scales whole rows, which parallel.tensor = 2 would split"),
        ({"float8": True, "precision": "fp32"}, {}, "is for passes in bfloat16, train.precision = 'fp32' has none"),
    ],
)
def test_float8_is_refused_where_it_cannot_be(train: dict, parallel: dict, sentence: str) -> None:
    values = {"name": "x", "train": {"tokens": 2**32, **train}, "parallel": parallel, "optim": {"warmup_steps": 1}}
    with pytest.raises(ValidationError, match=sentence):
        Recipe.model_validate(values)
    assert Recipe.model_validate(values | {"parallel": {}, "train": {"tokens": 2**32, "float8": True}}).train.float8
