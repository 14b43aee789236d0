"""`puna.finetune` from files of examples to a model that chats: exact when it is resumed, and it learns to stop."""

import json
import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tuned import RECIPE, conversations, write_base, write_talks

import puna
from puna.api.tuned_model import base_of
from puna.core.errors import CheckpointError, ConfigError, DataError, GenerateError, TrainError, UserError
from puna.core.files import sha256_file
from puna.core.layout import DataDir, RunDir
from puna.core.metrics import read_metrics
from puna.core.records import read_record
from puna.tokenizer.load import load_tokenizer


@dataclass(frozen=True)
class Tuned:
    """A run of instruction tuning, and what it was made from."""

    recipe: Path
    base: Path
    talks: Path
    data: DataDir
    run: RunDir

    def again(self, run: Path, **options: Any) -> RunDir:
        """Another run of the same."""
        return puna.finetune(self.recipe, self.talks, run, model=self.base, build=self.data, **options)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Trained to its end. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "recipe.toml").write_text(RECIPE)
    made = Tuned(
        folder / "recipe.toml", write_base(folder / "base"), write_talks(folder / "talks.jsonl"),
        DataDir(folder / "data"), RunDir(folder / "run"),
    )  # fmt: skip
    made.again(made.run.root)
    return made


def lines(run: RunDir, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_metrics(run.metrics) if line["kind"] == kind]


def results(run: RunDir) -> dict[str, Any]:
    record = read_record(run.record)
    assert record is not None
    return record["results"]


def test_a_tuned_model_answers_and_stops(tuned: Tuned) -> None:
    model = puna.load(tuned.run)
    answer = model.chat([{"role": "user", "content": "What is 4 and 5?"}], max_tokens=16, temperature=0)
    assert answer == "much"
    end = model.tokenizer.encode("<|im_end|>", special=True)
    assert len(end) == 1
    assert end[0] in model.tokenizer.stops


def test_a_model_before_it_is_tuned_neither_answers_nor_stops(tuned: Tuned) -> None:
    first, last = (
        next(line["text"] for line in lines(tuned.run, "sample") if line["step"] == step)
        for step in (0, results(tuned.run)["steps"])
    )
    assert "much" not in first
    assert last == "much"


def test_held_out_answers_are_likelier_after_than_before(tuned: Tuned) -> None:
    before, *_, after = lines(tuned.run, "validation")
    assert (before["step"], before["final"], after["final"]) == (0, False, True)
    assert after["loss"]["examples"] < 0.2 * before["loss"]["examples"]


def test_a_run_says_what_it_was_made_from(tuned: Tuned) -> None:
    record = read_record(tuned.run.record)
    assert record is not None
    assert record["outputs"]["chat_template.jinja"] == sha256_file(tuned.run.model / "chat_template.jinja")
    (parent,) = record["results"]["lineage"]
    assert (parent["how"], Path(parent["place"]).name) == ("continued", "base")
    assert record["config"]["train"]["tokens"] == 512 * record["results"]["steps"]
    assert json.loads(tuned.run.data_card.read_bytes())["sources"][0]["name"] == "examples"


def test_a_stopped_run_goes_on_exactly_and_needs_neither_data_nor_model(tuned: Tuned, tmp_path: Path) -> None:
    base, data = tmp_path / "base", tmp_path / "data"
    shutil.copytree(tuned.base, base)
    run = puna.finetune(tuned.recipe, tuned.talks, tmp_path / "run", model=base, build=data, stop_at=7)
    assert not run.model.exists()
    shutil.rmtree(base)
    shutil.rmtree(data)
    puna.finetune(run, build=data, resume=True)
    assert sha256_file(run.model / "model.safetensors") == sha256_file(tuned.run.model / "model.safetensors")
    assert not data.exists()


def test_a_checkpoint_of_a_run_chats_by_its_template(tuned: Tuned) -> None:
    model = puna.load(f"{tuned.run}@last")
    assert model.chat_template == (tuned.run.model / "chat_template.jinja").read_text()
    assert model.chat([{"role": "user", "content": "What is 4 and 5?"}], max_tokens=16, temperature=0) == "much"


def test_a_finished_run_stays_as_it_is(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    before = sha256_file(tuned.run.record)
    tuned.again(tuned.run.root, resume=True)
    assert "trained already" in capsys.readouterr().err
    assert sha256_file(tuned.run.record) == before
    with pytest.raises(CheckpointError, match="holds a run already"):
        tuned.again(tuned.run.root)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"finetune.learn": "everything"}, 'finetune.learn: "answers" -> "everything"'),
        ({"finetune.template": "plain"}, 'finetune.template: "chatml" -> "plain"'),
        ({"finetune.epochs": 3.0}, "finetune.epochs: 10.0 -> 3.0"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(tuned: Tuned, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        puna.finetune(
            puna.recipe(tuned.recipe, change), tuned.talks, tuned.run, model=tuned.base, build=tuned.data, resume=True
        )


def test_a_run_does_not_go_on_where_the_file_of_its_template_has_changed(tuned: Tuned, tmp_path: Path) -> None:
    run, file = RunDir(tmp_path / "run"), tmp_path / "chat.jinja"
    shutil.copy(tuned.run.model / "chat_template.jinja", file)
    recipe = puna.recipe(tuned.recipe, {"finetune.template": str(file)})
    own = puna.load(tuned.run).tokenizer  # with the control tokens
    options: dict[str, Any] = {"model": tuned.run, "build": tuned.data}
    puna.finetune(recipe, tuned.talks, run, stop_at=1, **options)
    assert load_tokenizer(run.tokenizer).sha256 == own.sha256
    source = file.read_text()
    file.write_text(source + "\n")
    before = {path: sha256_file(path) for path in sorted(run.root.rglob("*")) if path.is_file()}
    for begin in (
        lambda: puna.finetune(recipe, tuned.talks, run, resume=True, **options),
        lambda: puna.finetune(run, build=tuned.data, resume=True),
    ):
        with pytest.raises(
            CheckpointError, match=r"run: was tuned by another chat template than .*chat\.jinja has now"
        ):
            begin()
    assert before == {path: sha256_file(path) for path in sorted(run.root.rglob("*")) if path.is_file()}
    file.write_text(source)
    puna.finetune(run, build=tuned.data, resume=True, stop_at=2)
    file.unlink()  # the run has a copy
    puna.finetune(run, build=tuned.data, resume=True, stop_at=3)


def test_a_run_does_not_go_on_with_other_examples(tuned: Tuned, tmp_path: Path) -> None:
    talks = write_talks(tmp_path / "talks.jsonl", conversations(30, seed=8))
    with pytest.raises(CheckpointError):
        puna.finetune(tuned.recipe, talks, tuned.run, model=tuned.base, build=tmp_path / "data", resume=True)


def test_what_named_files_hold_now_counts_and_not_what_a_run_has_of_them(
    tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    talks = write_talks(tmp_path / "talks.jsonl")
    options: dict[str, Any] = {"model": tuned.base, "resume": True, "stop_at": 1}
    puna.finetune(tuned.recipe, talks, "run", **options)
    write_talks(talks, conversations(30, seed=8))
    with pytest.raises(CheckpointError, match="was trained on other examples"):
        puna.finetune(tuned.recipe, talks, "run", **options)
    # The same rows as before, but with another time: another build of equal documents.
    run = puna.finetune(tuned.recipe, write_talks(talks), "run", **options | {"stop_at": 2})
    assert [line["step"] for line in lines(run, "session")] == [0, 1]
    assert len(list((tmp_path / "data").iterdir())) == 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"finetune.max_answer_tokens": 1, "finetune.too_long": "drop"},
            r"none of the \d+ examples can be learned from",
        ),  # the tokens
        ({"finetune.freeze": ["norm"]}, "matches no parameter"),  # the session
    ],
)
def test_a_run_stays_until_the_one_that_takes_its_place_begins(
    tuned: Tuned, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    run = tuned.again(tmp_path / "run", stop_at=1)
    before = {path: sha256_file(path) for path in sorted(run.root.rglob("*")) if path.is_file()}
    with pytest.raises(UserError, match=sentence):
        puna.finetune(
            puna.recipe(tuned.recipe, changes), tuned.talks, run, model=tuned.base, build=tuned.data, force=True
        )
    assert before == {path: sha256_file(path) for path in sorted(run.root.rglob("*")) if path.is_file()}
    tuned.again(run.root, resume=True, stop_at=2)


def test_a_run_is_replaced_by_one_of_other_examples(tuned: Tuned, tmp_path: Path) -> None:
    run = tuned.again(tmp_path / "run", stop_at=1)
    talks = write_talks(tmp_path / "talks.jsonl", conversations(30, seed=8))
    puna.finetune(tuned.recipe, talks, run, model=tuned.base, build=tmp_path / "data", force=True, stop_at=2)
    assert [line["step"] for line in lines(run, "session")] == [0]
    assert sum(part["read"] for part in json.loads((run.examples / "manifest.json").read_bytes())["parts"]) == 30
    assert not run.next_examples.exists()
    puna.finetune(run, build=tmp_path / "data", resume=True, stop_at=3)
    with pytest.raises(
        CheckpointError, match=r"has the model that the run is to begin with, .*run@last, which --force"
    ):
        puna.finetune(
            tuned.recipe, talks, run, model=f"{run}@last", build=tmp_path / "data", force=True, stop_at=1
        )  # fmt: skip


def test_a_run_that_is_there_is_refused_before_its_data_are_built(tuned: Tuned, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a run already"):
        puna.finetune(tuned.recipe, tuned.talks, tuned.run, model=tuned.base, build=tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_dropped_are_told_with_their_reasons(
    tuned: Tuned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = conversations(20)
    talks = write_talks(tmp_path / "talks.jsonl", [*rows, rows[3], {"messages": []}, {"other": 1}, rows[4]])
    data = tmp_path / "data"
    puna.show_batch(tuned.recipe, talks, tmp_path / "run", model=tuned.base, build=data)
    told = " ".join(capsys.readouterr().err.split())
    assert "examples: 2 rows dropped (duplicate): Its text equals that of a document which was kept." in told
    assert told.count("examples: 1 row dropped (conversations.") == 2
    assert f"`puna data inspect {data} --dropped` shows them" in told


def test_a_batch_behind_the_end_of_the_run_is_refused(tuned: Tuned) -> None:
    with pytest.raises(ConfigError, match=r"--batch 99999999: the run has \d+ batches, from 0 on"):
        puna.show_batch(tuned.run, build=tuned.data, number=99_999_999)


def test_a_batch_is_shown_without_training(tuned: Tuned, tmp_path: Path) -> None:
    text = puna.show_batch(tuned.recipe, tuned.talks, tmp_path / "run", model=tuned.base, build=tuned.data)
    assert "1 | much<|im_end|>" in text
    assert "seen as 0 to " in text
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name != ".lock"] == ["examples"]
    # A run that has begun is left alone, and its batches are the same.
    before = {path: sha256_file(path) for path in sorted(tuned.run.root.rglob("*")) if path.is_file()}
    assert puna.show_batch(tuned.recipe, tuned.talks, tuned.run, model=tuned.base, build=tuned.data) == text
    assert before == {path: sha256_file(path) for path in sorted(tuned.run.root.rglob("*")) if path.is_file()}


def test_a_tuned_model_is_tuned_again_by_its_own_template(tuned: Tuned, tmp_path: Path) -> None:
    recipe = puna.recipe(tuned.recipe, {"finetune.template": "own", "finetune.epochs": 1})
    run = puna.finetune(recipe, tuned.talks, tmp_path / "run", model=tuned.run, build=tmp_path / "data")
    assert (run.model / "chat_template.jinja").read_bytes() == (tuned.run.model / "chat_template.jinja").read_bytes()
    assert len(results(run)["lineage"]) == 2


def test_recipes_of_tuning_and_of_pre_training_are_told_apart(tuned: Tuned, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no section \[finetune\]") as refused:
        puna.finetune("demo", run=tmp_path / "run")
    assert refused.value.hint is not None
    assert "puna train demo" in refused.value.hint
    for command in (puna.train, puna.run):
        with pytest.raises(ConfigError, match=r"has a section \[finetune\]"):
            command(tuned.recipe, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_missing_is_said_before_anything_is_written(tuned: Tuned, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(TrainError, match="which model is to be tuned was not said"):
        puna.finetune(tuned.recipe, tuned.talks, run)
    with pytest.raises(ConfigError, match="names no examples to learn from"):
        puna.finetune(tuned.recipe, run=run, model=tuned.base)
    with pytest.raises(DataError, match="is not there"):
        puna.finetune(tuned.recipe, tmp_path / "none.jsonl", run, model=tuned.base)
    own = puna.recipe(tuned.recipe, {"finetune.template": "own"})
    with pytest.raises(GenerateError, match="has no chat template"):
        puna.finetune(own, tuned.talks, run, model=tuned.base)
    assert list(tmp_path.iterdir()) == []


def test_low_rank_updates_are_left_beside_the_model_that_has_them(tuned: Tuned, tmp_path: Path) -> None:
    recipe = puna.recipe(tuned.recipe, {"finetune.method": "lora", "optim.lr": 3e-2})
    options: dict[str, Any] = {"model": tuned.base, "build": tuned.data}
    run = puna.finetune(recipe, tuned.talks, tmp_path / "run", **options)
    question = [{"role": "user", "content": "What is 4 and 5?"}]
    answers = [
        model.chat(question, max_tokens=16, temperature=0)
        for model in (puna.load(run), puna.load(tuned.base, adapter=run))
    ]
    named = puna.recipe(str(run.config))
    rows = [len(load_tokenizer(place).token_bytes()) for place in (tuned.base, run.tokenizer)]
    for resume in (False, True):
        assert base_of(named, run, forced=True, resume=resume)[1].new_tokens == range(*rows)
    assert answers[0] == answers[1]
    before, *_, after = lines(run, "validation")
    assert after["loss"]["examples"] < 0.2 * before["loss"]["examples"]
    parts = puna.finetune(recipe, tuned.talks, tmp_path / "parts", stop_at=7, **options)
    puna.finetune(parts, build=tuned.data, resume=True)
    for file in ("model/model.safetensors", "adapter/adapter_model.safetensors"):
        assert sha256_file(parts.root / file) == sha256_file(run.root / file)


def test_pairs_are_told_apart_after_they_are_learned(tuned: Tuned, tmp_path: Path) -> None:
    rows = [
        {"prompt": row["messages"][0]["content"], "chosen": "much", "rejected": "little"} for row in conversations(60)
    ]
    pairs = write_talks(tmp_path / "pairs.jsonl", rows)
    recipe = puna.recipe(
        tuned.recipe,
        {"finetune.preference.loss": "dpo", "optim.lr": 1e-3, "finetune.epochs": 2, "finetune.dropout": 0.1},
    )
    run = puna.finetune(recipe, pairs, tmp_path / "run", model=tuned.base, build=tmp_path / "data")
    before, *_, after = lines(run, "validation")
    assert before["loss"]["examples"] == pytest.approx(math.log(2))
    assert after["loss"]["examples"] < 0.8 * before["loss"]["examples"]
