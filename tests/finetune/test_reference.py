"""What the initial model says of pairs: right, computed once, kept, and never of another model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pair_runs import PairRun, Write, pair_recipe
from torch import Tensor

from puna.core.errors import CheckpointError, Interrupted
from puna.finetune import reference
from puna.finetune.preferences import PreferenceObjective
from puna.finetune.reference import reference_of
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.session import Session


@pytest.fixture
def pairs(write: Write, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PairRun:
    """A run whose files have 8 pairs each."""
    monkeypatch.setattr(reference, "PART", 8)
    return PairRun(write, tokenizer, pair_recipe(), tmp_path)


def ask(run: PairRun, session: Session | None = None, directory: Path | None = None) -> Tensor:
    """The log-probabilities of the pairs to train on."""
    session = session or run.open()[0]
    objective = session.learns_by
    assert isinstance(objective, PreferenceObjective)
    return reference_of(session, objective, run.train, "train", directory=directory or run.reference, padding=5)


def test_log_probabilities_are_those_of_each_answer_alone(pairs: PairRun):
    session, _ = pairs.open()
    found_E2 = ask(pairs, session)
    assert found_E2.shape == (50, 2)
    assert found_E2.dtype == torch.float64
    for number, documents in enumerate(pairs.train.read(range(50))):
        for place, document in enumerate(documents):
            ids_T = torch.from_numpy(document.ids)
            with torch.no_grad():
                logs_TV = torch.log_softmax(session.model(ids_T[None, :-1])[0].double(), dim=-1)
            logs_T = logs_TV.gather(1, ids_T[1:, None])[:, 0]
            expected = logs_T[torch.from_numpy(document.learned[1:])].sum().item()
            assert found_E2[number, place].item() == pytest.approx(expected, rel=1e-5)


def test_kept_log_probabilities_equal_fresh_ones_to_the_bit_and_ask_no_model(
    pairs: PairRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first_E2 = ask(pairs)
    fresh_E2 = ask(pairs, directory=tmp_path / "other")

    def fails(*arguments: Any) -> Tensor:
        raise AssertionError("the model was asked again")

    monkeypatch.setattr(PreferenceObjective, "log_probabilities", fails)
    kept_E2 = ask(pairs)
    assert torch.equal(kept_E2, first_E2)
    assert torch.equal(fresh_E2, first_E2)


def test_run_that_was_killed_goes_on_behind_its_last_whole_file(pairs: PairRun, monkeypatch: pytest.MonkeyPatch):
    whole_E2 = ask(pairs)
    for number in (3, 4, 5, 6):
        (pairs.reference / f"train-{number:05d}.npy").unlink()
    (pairs.reference / "train-00002.npy").write_bytes(b"\x93NUMPY cut")
    asked: list[int] = []
    computed = reference._compute

    def noted(*arguments: Any) -> Any:
        asked.extend(arguments[3].tolist())
        return computed(*arguments)

    monkeypatch.setattr(reference, "_compute", noted)
    assert torch.equal(ask(pairs), whole_E2)
    assert asked == list(range(16, 50))


@pytest.mark.parametrize("change", ["weights", "precision", "examples"])
def test_log_probabilities_of_other_weights_precision_or_examples_are_not_taken(
    pairs: PairRun, write: Write, tokenizer: Tokenizer, tmp_path: Path, change: str
):
    ask(pairs)
    session, _ = pairs.open()
    before = reference.settings_of(session, pairs.train)
    if change == "weights":
        session.state.initial_weights = "another hash"
        session.model.output.weight.data *= 2
        examples = pairs.train
    elif change == "precision":
        session, _ = PairRun(write, tokenizer, pair_recipe(precision="bf16"), tmp_path).open()
        examples = pairs.train
    else:
        examples = pairs.heldout
    assert reference.settings_of(session, examples) != before
    objective = session.learns_by
    assert isinstance(objective, PreferenceObjective)
    options: dict[str, Any] = {"padding": 5}
    found_E2 = reference_of(session, objective, examples, "train", directory=pairs.reference, **options)
    fresh_E2 = reference_of(session, objective, examples, "train", directory=tmp_path / "fresh", **options)
    assert torch.equal(found_E2, fresh_E2)


def test_missing_log_probabilities_of_a_model_that_has_learned_are_refused(pairs: PairRun):
    ask(pairs)
    session, _ = pairs.open()
    session.state.step = 3
    assert len(ask(pairs, session)) == 50
    (pairs.reference / "train-00001.npy").unlink()
    with pytest.raises(CheckpointError, match="does not hold what the initial model says") as raised:
        ask(pairs, session)
    assert "--force" in str(raised.value.hint)


def test_signal_ends_the_command_before_the_first_step_and_whole_files_are_kept(
    pairs: PairRun, monkeypatch: pytest.MonkeyPatch
):
    session, _ = pairs.open()
    computed = reference._compute

    def interrupted(*arguments: Any) -> Any:
        values_E2 = computed(*arguments)
        session.interrupt.signal = 15
        return values_E2

    monkeypatch.setattr(reference, "_compute", interrupted)
    with pytest.raises(Interrupted):
        ask(pairs, session)
    assert [path.name for path in sorted(pairs.reference.glob("*.npy"))] == ["train-00000.npy"]
