"""Loading: precedence, origins, the way through a file and back, and no input that ends in a traceback."""

import datetime
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import example, given, settings
from hypothesis import strategies as st

from puna.config.load import load_recipe, parse_override, save_recipe, shipped_recipes
from puna.config.recipe import Recipe
from puna.core.errors import ConfigError, StorageError

MINE = """
extends = "demo"
name = "mine"
[optim]
lr = 1e-3
[data.sources.notes]
kind = "files"
path = "notes"
include = ["*.md"]
heldout_fraction = 0.1
[mixture]
notes = 0.2
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A recipe that extends the demo."""
    (tmp_path / "mine.toml").write_text(MINE)
    return str(tmp_path / "mine.toml")


def refusal(name: str, overrides: list[str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_recipe(name, overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipe_loads_bears_its_files_name_and_describes_itself(name: str) -> None:
    recipe = load_recipe(name).recipe
    assert recipe.name == name
    assert recipe.description


def test_demo_and_the_papers_models_ship() -> None:
    assert set(shipped_recipes()) >= {"demo", "demo-smoke", "llama-7b", "llama-13b", "llama-33b", "llama-65b"}


def test_later_places_win_and_every_value_knows_its_place(mine: str) -> None:
    loaded = load_recipe(mine, ["optim.warmup_steps=7", "optim.lr=2e-4", "optim.lr=3e-4"])
    recipe, origins = loaded.recipe, loaded.origins
    assert (recipe.name, recipe.optim.lr, recipe.optim.warmup_steps, recipe.model.dim) == ("mine", 3e-4, 7, 192)
    assert origins["name"] == "mine.toml"
    assert origins["optim.lr"] == origins["optim.warmup_steps"] == "command line"
    assert origins["model.dim"] == "demo.toml"
    assert "optim.beta1" not in origins
    assert recipe.optim.beta1 == 0.9


def test_tables_merge_key_by_key_and_lists_are_replaced(mine: str) -> None:
    recipe = load_recipe(mine, ['samples.prompts=["only"]', "data.sources.code.licence=other"]).recipe
    assert list(recipe.data.sources) == ["prose", "code", "notes"]
    assert recipe.mixture == {"prose": 0.85, "code": 0.15, "notes": 0.2}
    assert recipe.samples.prompts == ["only"]
    assert recipe.data.sources["code"].licence == "other"
    assert recipe.data.sources["code"].kind == "python-stdlib"


def test_false_leaves_out_a_source_of_the_extended_recipe_with_its_share(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        MINE.replace("[data.sources.notes]", "[data.sources]\nprose = false\n[data.sources.notes]")
    )
    loaded = load_recipe(str(tmp_path / "mine.toml"), ["max_epochs.code=2", "data.sources.code=false"])
    assert list(loaded.recipe.data.sources) == list(loaded.recipe.mixture) == ["notes"]
    assert not loaded.recipe.max_epochs
    assert not [key for key in loaded.origins if "prose" in key or "code" in key]


def test_left_out_source_is_in_no_list_and_no_later_mixture(tmp_path: Path) -> None:
    books = load_recipe("redpajama-v1", ["data.sources.books=false"]).recipe
    assert books.data.dedup.contained.sources == []
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'extends = "demo"\nname = "mine"\n[[stages]]\nfrom_tokens = 819200\nmixture = {code = 1.0, prose = 2.0}\n'
        '[data.dedup.near]\nsources = ["code", "prose"]\n'
    )
    left = load_recipe(str(mine), ["data.sources.prose=false"]).recipe
    assert left.stages[0].mixture == {"code": 1.0}
    assert left.data.dedup.near.sources == ["code"]


def test_source_that_was_left_out_can_be_described_again(tmp_path: Path) -> None:
    new = ["data.sources.prose=false", 'data.sources.prose={path = "p", include = ["*"], heldout_fraction = 0.1}']
    source = load_recipe("demo", [*new, "mixture.prose=1.0"]).recipe.data.sources["prose"]
    assert (source.package, source.path, source.heldout_pattern) == ("", "p", "")


def test_table_that_meets_a_scalar_replaces_it_with_its_origin(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('name = "base"\noptim = 3\n[energy.pue]\nx = 1\n[checkpoint]\nkeep = 1')
    (tmp_path / "mine.toml").write_text('extends = "base.toml"\nenergy.pue = 1.5\n[optim]\nlr = 1e-3\n[checkpoint]')
    loaded = load_recipe(str(tmp_path / "mine.toml"))
    assert loaded.recipe.optim.lr == 1e-3
    given = {key: origin for key, origin in loaded.origins.items() if not origin.startswith("derived")}
    assert given == {
        "name": "base.toml", "optim.lr": "mine.toml", "energy.pue": "mine.toml", "checkpoint.keep": "base.toml",
    }  # fmt: skip


def test_extended_file_lies_beside_the_recipe_not_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.toml").write_text('name = "right"')
    (tmp_path / "base.toml").write_text('name = "wrong"')
    (tmp_path / "sub" / "mine.toml").write_text('extends = "base.toml"')
    monkeypatch.chdir(tmp_path)
    assert load_recipe("sub/mine.toml").recipe.name == "right"
    (tmp_path / "sub" / "base.toml").unlink()
    assert refusal("sub/mine.toml") == "mine.toml: extends 'base.toml': sub/base.toml: no such recipe file"


@pytest.mark.parametrize(
    ("extends", "sentence"),
    [
        ("3", "mine.toml: 'extends' expects the name of a recipe, got 3"),
        (
            '"mine.toml"',
            "mine.toml: extends 'mine.toml', which goes round in a circle: mine.toml -> mine.toml",
        ),
        (
            '"other.toml"',
            "other.toml: extends './mine.toml', which goes round in a circle: mine.toml -> other.toml -> mine.toml",
        ),
        (
            '"dmo"',
            "mine.toml: extends 'dmo': no recipe is called 'dmo'; did you mean 'demo'?\n"
            "  hint: `puna recipes` lists those that ship; a path must end in .toml",
        ),
    ],
)
def test_extends_leads_to_recipes_that_exist_and_not_back(tmp_path: Path, extends: str, sentence: str) -> None:
    (tmp_path / "mine.toml").write_text(f"extends = {extends}")
    (tmp_path / "other.toml").write_text('extends = "./mine.toml"')
    assert refusal(str(tmp_path / "mine.toml")) == sentence


def test_chain_of_recipes_is_merged_in_order_and_every_value_knows_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'extends = "demo-smoke"\n[optim]\nlr = 1e-3\nbeta2 = 0.98\n[data.sources]\ncode = false'
    )
    (tmp_path / "b.toml").write_text('extends = "a.toml"\nname = "b"\n[optim]\nlr = 2e-3')
    loaded = load_recipe(str(tmp_path / "b.toml"))
    recipe, origins = loaded.recipe, loaded.origins
    assert (recipe.optim.lr, recipe.optim.beta2, list(recipe.mixture)) == (2e-3, 0.98, ["prose"])
    keys = ("name", "optim.lr", "optim.beta2", "train.tokens", "data.sources.prose.kind")
    assert [origins[key] for key in keys] == ["b.toml", "b.toml", "a.toml", "demo-smoke.toml", "demo.toml"]


def test_chain_of_recipes_has_an_end(tmp_path: Path) -> None:
    for number in range(9):
        extends = "" if number == 0 else f'extends = "{number - 1}.toml"'
        (tmp_path / f"{number}.toml").write_text(f'{extends}\nname = "n{number}"')
    assert load_recipe(str(tmp_path / "7.toml")).recipe.name == "n7"
    assert refusal(str(tmp_path / "8.toml")) == "1.toml: extends '0.toml': more than 8 recipes extend each other"


def test_cap_of_a_source_that_is_left_out_goes_with_it_and_one_of_none_is_refused() -> None:
    tuning = load_recipe("flan-palm-62b", ["data.sources.cot=false"]).recipe.finetune
    assert tuning is not None
    assert set(tuning.task_cap) == {"muffin", "t0_sf", "niv2"}
    assert "finetune.task_cap names cots but data.sources are muffin, t0_sf, cot, niv2" in refusal(
        "flan-palm-62b", ["finetune.task_cap.cots=3"]
    )


def test_unknown_recipe_is_refused_with_the_nearest_name() -> None:
    hint = "\n  hint: `puna recipes` lists those that ship; a path must end in .toml"
    assert refusal("dmo") == f"no recipe is called 'dmo'; did you mean 'demo'?{hint}"
    assert refusal("") == f"no recipe is called ''; known here: {', '.join(shipped_recipes())}{hint}"
    assert refusal("missing.toml") == "missing.toml: no such recipe file"


def test_a_path_where_no_recipe_is_is_told_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo" / "checkpoints" / "step-00000005").mkdir(parents=True)
    save_recipe(load_recipe("demo").recipe, tmp_path / "runs" / "demo" / "config.toml")
    (tmp_path / "mine.toml").write_text('extends = "demo"')
    assert refusal("runs/demos") == (
        "runs/demos: no run is there, and a path to a recipe ends in .toml; did you mean 'runs/demo'?"
    )
    assert refusal("nowhere/x") == "nowhere/x: no run is there, and a path to a recipe ends in .toml"
    assert refusal("mine") == "no recipe is called 'mine'\n  hint: a file is named with its ending: mine.toml"
    assert refusal("runs").startswith("runs: is a directory without a config.toml, so neither a run nor a data build")
    (tmp_path / "runs" / "demo" / "checkpoints" / "step-00000005" / "state.json").write_text("")
    assert refusal("runs/demo@5") == (
        "runs/demo@5: is a moment of a run, and its recipe is that of the run\n"
        "  hint: `runs/demo` is the run; `puna train --branch-from runs/demo@5` begins a new one at that moment"
    )


def test_nesting_beyond_all_bounds_is_refused() -> None:
    key = ".".join(["a"] * 5000)
    assert refusal("demo", [f"{key}=1"]) == "demo: tables or lists are nested too deeply for a recipe"


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("optim.lr=2e-4", "optim.lr", 2e-4), ("name=mine", "name", "mine"), ('name="mine"', "name", "mine"),
        (" seed = 3 ", "seed", 3), ("a=", "a", ""), ("a=b=c", "a", "b=c"), ('p=["a", "b"]', "p", ["a", "b"]),
        ("t=1.0T", "t", "1.0T"), ("c=true", "c", True), ("c=True", "c", "True"), ("a=1\nb=2", "a", "1\nb=2"),
        ("d=2026-01-31", "d", datetime.date(2026, 1, 31)), ("t={a = 1}", "t", {"a": 1}),
        ("a=" + "[" * 5000, "a", "[" * 5000),
    ],
)  # fmt: skip
def test_override_is_toml_or_a_bare_word(text: str, key: str, value: Any) -> None:
    assert parse_override(text) == (key, value)


OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**63 - 1).map(str),
        "description": st.text().map(lambda text: tomli_w.dumps({"v": text}).removeprefix("v = ").strip()),
        "optim.lr": st.floats(1e-300, 1e300).map(repr),
        "optim.beta1": st.floats(0, 1, exclude_max=True).map(repr),
        "train.tokens": st.sampled_from(["1M", "4M", "2.5M", "7B"]),
        "train.compile": st.sampled_from(["true", "false"]),
        "energy.device_watts": st.floats(1, 1e6).map(repr),
        "model.tie_embeddings": st.sampled_from(["true", "false"]),
        "samples.prompts": st.lists(st.text()).map(
            lambda texts: tomli_w.dumps({"v": texts}).removeprefix("v = ").strip()
        ),
        "data.sources.prose.path": st.just('""'),
        "mixture.code": st.floats(1e-9, 1e9).map(repr),
    },
)


@settings(max_examples=50)
@given(st.sampled_from(sorted(shipped_recipes())), OVERRIDES)
def test_saved_recipe_loads_as_an_equal_one(
    tmp_path_factory: pytest.TempPathFactory, name: str, overrides: dict[str, str]
) -> None:
    if not name.startswith("demo"):
        overrides = {key: value for key, value in overrides.items() if key.split(".")[0] in {"seed", "optim", "energy"}}
    recipe = load_recipe(name, [f"{key}={value}" for key, value in overrides.items()]).recipe
    path = tmp_path_factory.getbasetemp() / "saved.toml"
    save_recipe(recipe, path)
    assert load_recipe(str(path)).recipe == recipe


def test_recipe_that_cannot_be_saved_is_a_storage_error(tiny: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"config\.toml: cannot be written"):
        save_recipe(tiny, tmp_path / "file" / "config.toml")


# Every key that the recipe knows somewhere, and others, so that wrong values land in real places.
KEYS = st.sampled_from(
    ["data", "sources", "prose", "kind", "include", "heldout_pattern", "heldout_fraction", "package", "mixture",
     "model", "dim", "n_heads", "vocab_size", "train", "tokens", "precision", "optim", "lr", "samples", "prompts",
     "energy", "device_watts", "name", "seed", "extends"]
) | st.text(max_size=4)  # fmt: skip
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.just(2**5000)
    | st.sampled_from(["demo", "package", "(a){99999999999}", "[[a]", "4M", "9" * 50, "fp32"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
SECTIONS = ["data", "mixture", "model", "train", "optim", "samples", "energy", "name", "seed", "extends", "nonsense"]
TABLES = st.fixed_dictionaries({}, optional=dict.fromkeys(SECTIONS, VALUES | st.dictionaries(KEYS, VALUES, max_size=4)))


@settings(max_examples=300)
@given(TABLES)
@example({"name": "x", "data": {"sources": {"p": {"kind": "files", "include": [1], "heldout_pattern": "[[a]"}}}})
@example({"name": "x", "data": {"sources": {"a\nb": {"kind": "files", "include": ["*"]}}}, "mixture": {"\n": 1.0}})
@example({"name": "x", "data": {"sources": {"a.b": {}, "": 3}}, "mixture": {"": float("nan"), "\n": 10**400}})
def test_no_table_ends_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(dump(table), encoding="utf-8", newline="\n")
    check_any_input(str(path), [])


@st.composite
def override_texts(draw: st.DrawFn) -> str:
    """An override that is nearly right, with a value as TOML or as Python shows it."""
    key = ".".join(draw(st.lists(st.sampled_from(SECTIONS) | KEYS, min_size=1, max_size=5)))
    value = draw(VALUES)
    return f"{key}={draw(st.sampled_from([dump_value(value), repr(value)]))}"


@settings(max_examples=200)
@given(st.lists(override_texts() | st.text(st.characters(), max_size=30), max_size=3))
def test_no_override_ends_in_a_traceback(overrides: list[str]) -> None:
    check_any_input("demo", overrides)


def check_any_input(name: str, overrides: list[str]) -> None:
    """Loading gives a recipe or problems, each one line."""
    try:
        load_recipe(name, overrides)
    except ConfigError as error:
        problems = error.problems
    else:
        return
    assert problems
    for problem in problems:
        assert problem
        assert problem.isprintable()


def dump(table: dict[str, Any]) -> str:
    return "\n".join(f"{dump_value(key)} = {dump_value(value)}" for key, value in table.items())


def dump_value(value: Any) -> str:
    """TOML on one line, by a writer of its own: integers beyond Python's limit are hexadecimal."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{dump_value(key)} = {dump_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dump_value, value)) + "]"
    if isinstance(value, int) and abs(value) > 10**100:
        return hex(value)
    return tomli_w.dumps({"v": value}).removeprefix("v = ").strip()
