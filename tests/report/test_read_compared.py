"""Which runs can be compared, under which names, and in which state."""

import json
import shutil
from pathlib import Path

import pytest
from compared_runs import compared_run

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError, DataError
from puna.core.layout import RunDir
from puna.core.schema.lineage import Parent
from puna.core.schema.train_state import TrainState, directory_of, write_state
from puna.report.compare_charts import axes, charts
from puna.report.compare_page import render
from puna.report.read_compared import read_comparison


def checkpoint(run: RunDir, step: int, recipe: Recipe, **values: object) -> None:
    directory = directory_of(run, step)
    directory.mkdir(parents=True)
    state = TrainState(step=step, recipe=recipe.model_dump(exclude_none=True), **values)  # type: ignore[arg-type]
    write_state(directory, state, {"shard": "ab" * 32})


def test_runs_are_called_by_the_last_part_of_their_paths_or_by_all_of_it(tiny: Recipe, tmp_path: Path):
    runs = [compared_run(tmp_path / place, tiny) for place in ("one/demo", "two/demo", "two/other")]
    assert [run.name for run in read_comparison(runs[1:]).runs] == ["demo", "other"]
    assert [run.name for run in read_comparison(runs).runs] == [str(run) for run in runs]


def test_a_run_can_be_compared_with_its_own_past(tiny: Recipe, tmp_path: Path):
    run = compared_run(tmp_path / "demo", tiny)
    checkpoint(run, 15, tiny)
    past, now = read_comparison([f"{run}@step-15", run]).runs
    assert (past.name, past.step, past.tokens, past.finished) == ("demo@step-15", 15, 15 * 256, False)
    assert [line.step for line in past.validations] == [10]
    assert past.samples == {"The people": "an older text"}
    assert (now.step, now.finished) == (24, True)


def test_a_moment_has_the_recipe_that_it_was_trained_with(tiny_toml: Path, tiny: Recipe, tmp_path: Path):
    run = compared_run(tmp_path / "demo", tiny)
    checkpoint(run, 15, load_recipe(str(tiny_toml), {"optim.lr": 0.5}).recipe)
    (difference,) = read_comparison([f"{run}@15", run]).differences
    assert (difference.key, difference.values) == ("optim.lr", [0.5, 0.01])


def test_the_same_file_is_not_a_difference_wherever_the_runs_lie(
    tiny_toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").mkdir()
    recipes = [
        load_recipe(str(tiny_toml), {"data.rules.c4.bad_words": place}).recipe for place in ("rows/words", "rows/other")
    ]
    places = [Path("near"), Path("far/away/from"), Path("third")]
    runs = [compared_run(place, recipes[number == 2]) for number, place in enumerate(places)]
    assert read_comparison(runs[:2]).differences == []
    (difference,) = read_comparison(runs).differences
    assert difference.values == ["rows/words", "rows/words", "rows/other"]


def test_a_key_that_is_newer_than_a_run_has_its_default(tiny: Recipe, tmp_path: Path):
    runs = [compared_run(tmp_path / name, tiny) for name in ("old", "new")]
    lines = runs[0].config.read_text().splitlines(keepends=True)
    runs[0].config.write_text("".join(line for line in lines if not line.startswith(("z_loss", "cooldown_ratio"))))
    assert runs[0].config.read_text() != runs[1].config.read_text()
    assert read_comparison(runs).differences == []
    runs[0].config.write_text(f"of_the_future = 3\n{runs[0].config.read_text()}")
    assert "of_the_future" in [difference.key for difference in read_comparison(runs).differences]


def test_a_finished_run_that_goes_on_longer_is_not_finished(tiny_toml: Path, tiny: Recipe, tmp_path: Path):
    longer = load_recipe(str(tiny_toml), {"train.tokens": 12288}).recipe
    found = read_comparison([compared_run(tmp_path / "a", tiny), compared_run(tmp_path / "b", longer)])
    assert [(run.finished, run.total_steps) for run in found.runs] == [(True, 24), (False, 48)]


def test_where_a_run_comes_from_is_told(tiny: Recipe, tmp_path: Path):
    run, other = compared_run(tmp_path / "child", tiny, steps=20), compared_run(tmp_path / "other", tiny)
    parent = Parent(how="branched", run="demo", place="runs/demo@400", step=400, changes=["optim.lr: 0.1 -> 0.2"])
    checkpoint(run, 20, tiny, lineage=[parent])
    child, other_run = read_comparison([run, other]).runs
    assert child.ancestry == ["branched from runs/demo@400 at step 400, optimizer fresh: optim.lr: 0.1 -> 0.2"]
    assert other_run.ancestry == []


def test_a_line_that_is_being_written_is_passed_over(tiny: Recipe, tmp_path: Path):
    runs = [compared_run(tmp_path / name, tiny, steps=14) for name in ("one", "two")]
    with runs[0].metrics.open("a") as file:
        file.write('{"kind": "train", "step": 15, "to')
    assert [run.step for run in read_comparison(runs).runs] == [14, 14]


def test_data_and_tokenizers_are_told_apart_by_the_cards(report_run: RunDir, tiny: Recipe, tmp_path: Path):
    card = json.loads(report_run.data_card.read_text())
    runs = [compared_run(tmp_path / name, tiny) for name in ("one", "two")]
    runs[0].data_card.write_text(json.dumps(card))
    card["tokenizer"]["sha256"], card["build"]["documents_sha256"] = "cd" * 32, "ef" * 32
    runs[1].data_card.write_text(json.dumps(card))
    found = read_comparison(runs)
    assert not found.same_tokenizer
    assert found.notes == [
        "The tokenizers differ, so a loss per token means something else in each; bits per byte do not.",
        "The data builds differ, so each run is measured on the held-out text of its own build.",
    ]


def test_one_run_is_not_enough(tiny: Recipe, tmp_path: Path):
    run = compared_run(tmp_path / "one", tiny)
    with pytest.raises(DataError, match="needs two runs or more") as raised:
        read_comparison([run])
    assert raised.value.hint == f"`puna report {run}` shows one run"


def test_what_is_not_a_run_or_is_given_twice_is_named(tiny: Recipe, tmp_path: Path):
    run = compared_run(tmp_path / "one", tiny)
    with pytest.raises(DataError, match="is the same as"):
        read_comparison([run, f"{tmp_path}/../{tmp_path.name}/one"])
    build = tmp_path / "build"
    build.mkdir()
    (build / "config.toml").write_text(run.config.read_text())
    for other in (tmp_path / "nowhere", tmp_path, build):
        with pytest.raises(DataError, match="is not a training run"):
            read_comparison([run, other])
    with pytest.raises(CheckpointError, match="no checkpoint of step 400"):
        read_comparison([run, f"{run}@400"])


@pytest.mark.parametrize("damage", ["record.json", "metrics.jsonl", "config.toml", "data_card.json"])
def test_a_damaged_file_is_named(tiny: Recipe, tmp_path: Path, damage: str):
    runs = [compared_run(tmp_path / name, tiny) for name in ("one", "two")]
    content = '{"kind": "train", "step": 3}\n' if damage == "metrics.jsonl" else "train = {}\n"
    (runs[1].root / damage).write_text(content)
    with pytest.raises(DataError, match=f"{runs[1].root}"):
        read_comparison(runs)


def test_a_tuned_run_has_its_tokenizer_from_the_record_its_template_and_its_pairs(pairs_run: RunDir):
    card = json.loads(pairs_run.data_card.read_text())
    pairs_run.data_card.write_text(json.dumps(card | {"tokenizer": None}))
    record = json.loads(pairs_run.record.read_text())
    record["inputs"]["tokenizer"] = "fe" * 32
    pairs_run.record.write_text(json.dumps(record))
    other = pairs_run.root.parent / "other"
    shutil.copytree(pairs_run.root, other)
    tuning = json.loads(pairs_run.tuning.read_text())
    (other / "tuning.json").write_text(json.dumps(tuning | {"template_sha256": "cd" * 32}))
    comparison = read_comparison([pairs_run, other])
    run = comparison.runs[0]
    assert (run.tokenizer, run.template, run.told_apart) == ("fe" * 32, "ab" * 32, 0.75)
    assert comparison.common_tokens is None
    assert [note for note in comparison.notes if "chat templates differ" in note]
    titles = [chart.title for chart in charts(comparison)]
    assert titles[:3] == ["Held-out pairs told apart", "Margins of held-out pairs", "Loss of pairs"]
    assert axes(comparison)[0].title == "tokens of the batches, padding included"
    page = render(comparison)
    assert '<td class="n">75.0 %</td>' in page
    assert "held-out text" not in page.partition("<script>")[0]
    assert "<mark>The &lt;b&gt;</mark></h3>" in page


def test_runs_that_learn_from_different_things_are_not_compared_by_their_losses(
    tuned_run: RunDir, tiny: Recipe, tmp_path: Path
):
    comparison = read_comparison([tuned_run, compared_run(tmp_path / "text", tiny)])
    assert [note for note in comparison.notes if "losses cannot be compared" in note]
    assert "nats per token" not in [chart.figure["layout"]["yaxis"]["title"]["text"] for chart in charts(comparison)]
