"""Runs on pairs: where they begin, what they tell, how they are validated and go on."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pair_runs import PairRun, Write, pair_recipe
from tuned import RECIPE, conversations, write_base, write_talks

import puna
from puna.core.errors import CheckpointError
from puna.core.files import sha256_file
from puna.core.layout import RunDir
from puna.core.metrics import read_metrics
from puna.core.schema.lines import Line, PreferenceLine, RollbackLine, TrainLine, ValidationLine
from puna.core.schema.train_state import list_checkpoints
from puna.finetune.pairs import figures_of
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.loop import run as run_steps
from puna.train.session import Listener, Outcome, Session
from puna.train.stability import Verdict


class Heard(Listener):
    """Keeps the lines that it hears."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def recorded(self, session: Session, line: Line) -> None:
        """Keep it."""
        self.lines.append(line)

    def told(self, split: str) -> list[PreferenceLine]:
        """The lines on pairs of a split."""
        return [line for line in self.lines if isinstance(line, PreferenceLine) and line.split == split]


def test_a_run_begins_at_log_2_and_learns_to_tell_held_out_pairs_apart(
    write: Write, tokenizer: Tokenizer, tmp_path: Path
):
    session, listener = PairRun(write, tokenizer, pair_recipe(steps=14), tmp_path).open()
    session.listeners.append(heard := Heard())
    with session:
        assert run_steps(session)
    losses = [line.loss for line in heard.lines if isinstance(line, TrainLine)]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses[1] != losses[0]
    first, last = heard.told("heldout")
    assert [first.step, first.final, last.step, last.final] == [0, False, 14, True]
    for source, pairs_of_source in {"polite": 5, "short": 4}.items():
        assert first.sources[source].pairs == last.sources[source].pairs == pairs_of_source
        assert first.sources[source].loss == pytest.approx(math.log(2), abs=1e-9)
        assert first.sources[source].accuracy == 0.5, "ties are told apart half of the time"
        assert last.sources[source].accuracy > 0.7
        assert last.sources[source].margin > 0.3
    validations = [line for line in heard.lines if isinstance(line, ValidationLine)]
    assert validations[0].loss == {source: found.loss for source, found in first.sources.items()}
    assert listener.final.loss == {source: found.loss for source, found in last.sources.items()}


def test_figures_of_training_are_those_of_the_steps_since_the_line_before(pairs: PairRun):
    pairs.recipe = pairs.recipe.model_copy(update={"train": pairs.recipe.train.model_copy(update={"log_every": 2})})
    session, _ = pairs.open()
    session.listeners.append(heard := Heard())
    with session:
        run_steps(session)
    lines = [line for line in heard.lines if isinstance(line, TrainLine)]
    told = heard.told("train")
    assert [line.step for line in told] == [2, 4, 6]
    for step, line, found in zip((0, 2, 4), lines, told, strict=True):
        batches = [session.feed.targets(number) for number in (step, step + 1)]
        assert sum(of_source.pairs for of_source in found.sources.values()) == sum(batches)
        assert {source: of_source.loss for source, of_source in found.sources.items()} == pytest.approx(
            line.source_loss, rel=1e-9
        )


def test_pairs_of_a_step_that_was_left_out_or_taken_back_are_not_told(pairs: PairRun):
    session, listener = pairs.open()
    session.listeners.append(heard := Heard())
    listener.began(session)
    with session.batches() as passes:
        outcome = session.step(passes)
        listener.stepped(
            session, Outcome(loss=outcome.loss, norm=outcome.norm, lr=0.0, verdict=Verdict(False, "a spike"))
        )
        session.step(passes)
        listener.stepped(session, outcome)
        listener.recorded(session, RollbackLine(step=0, tokens=0, from_step=2, reason="a spike"))
        session.step(passes)
    listener.recorded(session, TrainLine(step=3, tokens=0, loss=0.0, lr=0.0, grad_norm=0.0, tokens_per_second=0.0))
    (told,) = heard.told("train")
    assert sum(found.pairs for found in told.sources.values()) == session.feed.targets(2)


def test_a_resumed_run_ends_with_the_bits_of_one_without_a_break(
    write: Write, tokenizer: Tokenizer, pairs: PairRun, tmp_path: Path
):
    whole, _ = pairs.open()
    with whole:
        run_steps(whole)
    broken = PairRun(write, tokenizer, pairs.recipe, tmp_path / "broken")
    session, _ = broken.open(saved=True)
    with session:
        assert not run_steps(session, until=2)
    (_, checkpoint), *_ = list_checkpoints(broken.run)
    resumed, listener = broken.open(checkpoint=checkpoint, saved=True)
    with resumed:
        assert run_steps(resumed)
    for name, weight in whole.model.named_parameters():
        assert torch.equal(dict(resumed.model.named_parameters())[name], weight), name
    assert listener.final.loss


def test_sources_without_pairs_have_no_figures():
    sums_FS = torch.tensor([[0.0, 2.0], [0.0, 1.0], [0.0, 1.0], [0.0, 4.0], [0.0, 2.0], [0.0, -8.0], [0.0, -9.0]])
    found = figures_of(sums_FS, ["none", "some"])
    assert list(found) == ["some"]
    assert (found["some"].loss, found["some"].accuracy, found["some"].margin) == (0.5, 0.5, 1.0)


PAIRS = RECIPE.replace("[finetune]\n", "[finetune]\npreference = { beta = 0.5 }\n", 1)


@pytest.fixture(scope="module")
def preferring(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunDir]:
    """Runs of `puna finetune` on the same pairs, of which the short answers are preferred."""
    folder = tmp_path_factory.mktemp("preferring")
    (folder / "recipe.toml").write_text(PAIRS)
    base = write_base(folder / "base")
    rows = [
        {"prompt": row["messages"][0]["content"], "chosen": "much", "rejected": "much and more"}
        for row in conversations(30)
    ]
    file = write_talks(folder / "pairs.jsonl", rows)

    def run(name: str, **options: Any) -> RunDir:
        return puna.finetune(
            folder / "recipe.toml", file, folder / name, model=base, build=folder / "data", **options
        )  # fmt: skip

    return run


def test_the_command_learns_from_pairs_and_goes_on_exactly_with_the_kept_reference(
    preferring: Callable[..., RunDir],
) -> None:
    whole = preferring("whole")
    lines = list(read_metrics(whole.metrics))
    first = next(line for line in lines if line["kind"] == "preferences")
    last = next(line for line in reversed(lines) if line["kind"] == "preferences")
    assert first["sources"]["examples"]["loss"] == pytest.approx(math.log(2), abs=1e-9)
    assert (last["split"], last["final"]) == ("heldout", True)
    assert last["sources"]["examples"]["accuracy"] == 1.0
    assert last["sources"]["examples"]["loss"] < 0.5
    broken = preferring("broken", stop_at=3)
    parts = sorted((broken.examples / "reference").glob("*.npy"))
    assert [part.name for part in parts] == ["heldout-00000.npy", "train-00000.npy"]
    preferring("broken", resume=True)
    assert sha256_file(broken.model / "model.safetensors") == sha256_file(whole.model / "model.safetensors")


def test_a_resumed_run_without_its_reference_is_refused(preferring: Callable[..., RunDir]) -> None:
    run = preferring("without", stop_at=2)
    (run.examples / "reference" / "train-00000.npy").unlink()
    with pytest.raises(CheckpointError, match="does not hold what the initial model says"):
        preferring("without", resume=True)
