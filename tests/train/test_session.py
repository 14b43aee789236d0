"""A session composed by hand: the steps of pre-training, with other batches, objectives, schedules and listeners."""

import hashlib
import signal
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from puna.config.recipe import Recipe
from puna.core.errors import Interrupted
from puna.core.layout import DataDir, RunDir
from puna.core.metrics import read_metrics
from puna.core.schema.lines import Line, TrainLine
from puna.core.schema.train_state import list_checkpoints
from puna.model.llama import Llama
from puna.parallel.world import World
from puna.shards.heldout import IGNORE
from puna.shards.loader import Loader
from puna.shards.shards import TokenShards
from puna.train.device import Device
from puna.train.feed import Batch, Passes, TokenFeed
from puna.train.loop import run
from puna.train.session import Listener, Outcome, Session
from puna.train.synthetic import on_random_tokens, synthetic_session

MODEL = {"dim": 32, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "ffn_dim": 48, "vocab_size": 300, "context": 32}
WORLD = World(0, 1, torch.device("cpu"), None)
DEVICE = Device(WORLD.device, "none", 1.0, "none", 1.0, "none")

BITS = {
    # Of the version before sessions could be composed (ee6673f), on an Intel Xeon with AVX-512.
    ("2.13.0+cpu", "AVX512", "GenuineIntel"): {
        "fp32": "1659fc50c28ebe649db249c54afedf738ab1c079900d0e6ef1ca8d3fe9b66f38",
        "documents": "e1aeb5b5f45e2fef0a3afee131e9008e8771061c0560a47ff42f66f0e1f097dc",
    },
    # Of aa6a50c; products of bfloat16 are made by instructions that not all of these processors have.
    ("2.13.0+cpu", "AVX512", "GenuineIntel", "avx512_bf16"): {
        "bf16": "e60670f6780d986ff8b08d3149de8ddeb1f35a0838cfbb2de78769d2d5e453ad",
    },
}
"""SHA-256 of the losses, norms and weights of eight steps, by what decides the last bits of a step on one thread."""


def recipe_of(**train: Any) -> Recipe:
    sizes = {"tokens": 6400, "batch_tokens": 128, "micro_batch_tokens": 64, "compile": False, "precision": "fp32"}
    return Recipe.model_validate(
        {
            "name": "bits",
            "seed": 5,
            "model": MODEL,
            "train": sizes | train,
            "optim": {"warmup_steps": 2, "lr": 1e-2},
        }
    )


RECIPES = {
    "fp32": recipe_of(),
    "bf16": recipe_of(precision="bf16"),
    "documents": recipe_of(document_mask=True, z_loss=1e-4),
}


def _machine(case: str) -> tuple[str, ...]:
    """What decides the last bits of a case here."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    about = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    found = (torch.__version__, torch.backends.cpu.get_cpu_capability(), about.get("vendor_id", ""))
    narrow = sorted(flag for flag in about.get("flags", "").split() if flag.endswith("_bf16"))
    return (*found, *narrow) if case == "bf16" else found


@pytest.mark.parametrize("case", RECIPES)
def test_steps_have_the_bits_that_they_had_before(case: str):
    machine = _machine(case)
    if case not in BITS.get(machine, {}) or torch.get_num_threads() != 1:
        pytest.skip(f"no bits were kept of {machine} on {torch.get_num_threads()} threads")
    session = synthetic_session(RECIPES[case], WORLD, DEVICE)
    passes, digest = on_random_tokens(session), hashlib.sha256()
    for _ in range(8):
        outcome = session.step(passes)
        digest.update(repr((outcome.loss.item(), outcome.norm.item())).encode())
    for name, parameter in session.model.named_parameters():
        digest.update(name.encode() + parameter.detach().contiguous().view(torch.uint8).numpy().tobytes())
    assert digest.hexdigest() == BITS[machine][case]


def test_session_that_is_composed_by_hand_ends_with_the_bits_of_pretraining(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir
):
    shards = {source: TokenShards.open(tiny_data.shards / source / "train") for source in tiny.mixture}
    heard = Heard()
    with Session.open(tiny, WORLD, TokenFeed(Loader(shards, tiny), tiny), device=DEVICE, listeners=[heard]) as session:
        assert run(session)
    weights = load_file(tiny_run.model / "model.safetensors")
    named = dict(session.model.named_parameters())
    assert named.keys() == weights.keys()
    for name, tensor in weights.items():
        assert torch.equal(named[name], tensor), name
    lines = [line for line in read_metrics(tiny_run.metrics) if line["kind"] == "train"]
    ours = [line for line in heard.lines if isinstance(line, TrainLine)]
    assert [line.loss for line in ours] == [line["loss"] for line in lines]
    assert [line.source_loss for line in ours] == [line["source_loss"] for line in lines]
    assert [line.epochs for line in ours] == [line["epochs"] for line in lines]
    assert heard.steps == list(range(1, 25))
    assert heard.ends == 1


class Heard(Listener):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.steps: list[int] = []
        self.ends = 0

    def stepped(self, session: Session, outcome: Outcome) -> None:
        self.steps.append(session.state.step)

    def recorded(self, session: Session, line: Line) -> None:
        self.lines.append(line)

    def ended(self, session: Session) -> None:
        self.ends += 1


class Answers:
    """Conversations as tuning has them: only answers are learned, and rows hold several documents."""

    def __init__(self, passes: list[Batch]) -> None:
        self.names = ["short", "long"]
        self.fingerprint = "answers"
        self.bos_id: int | None = None
        self.in_epoch = {"short": 10, "long": 10}
        self.passes = passes
        self.waited = 0.0

    def targets(self, number: int) -> int:
        return sum(int((batch.targets_BT != IGNORE).sum()) for batch in self.passes)

    def sequences(self, batches: int) -> dict[str, int]:
        return {"short": batches, "long": 3 * batches}

    def tokens(self, batches: int) -> dict[str, int]:
        return {"short": 32 * batches, "long": 96 * batches}

    def read(self, numbers: Iterable[int], *, passes: int, reader: int, readers: int) -> nullcontext[Passes]:
        assert (passes, reader, readers) == (len(self.passes), 0, 1)
        self._all = (batch for _ in numbers for batch in self.passes)
        return nullcontext(self)

    def __iter__(self) -> Iterator[Batch]:
        return self._all

    def __next__(self) -> Batch:
        return next(self._all)


@pytest.fixture
def answers() -> Answers:
    """Two passes of two rows, of which a third counts; every row has documents of its own."""
    random = np.random.default_rng(1)

    def batch(sources: list[int]) -> Batch:
        tokens = random.integers(3, 300, (2, 33))
        targets = np.where(random.random((2, 32)) < 1 / 3, tokens[:, 1:], IGNORE)
        documents = (random.random((2, 32)) < 0.1).cumsum(1)
        return Batch(
            inputs_BT=np.ascontiguousarray(tokens[:, :-1]), targets_BT=targets, sources_B=np.array(sources),
            documents_BT=documents,
        )  # fmt: skip

    return Answers([batch([0, 1]), batch([1, 1])])


def _plain(model: Llama, batch: Batch) -> torch.Tensor:
    """Each token's loss with full logits and a written-out mask, (B, T); 0 where nothing is learned."""
    documents, targets_BT = torch.from_numpy(batch.documents_BT), torch.from_numpy(batch.targets_BT)
    rows = []
    for row, targets_T in enumerate(targets_BT):
        # Documents one after the other, each alone: rotary positions matter only relative to each other.
        losses_T = torch.zeros(len(targets_T))
        for document in documents[row].unique():
            where = (documents[row] == document).nonzero()[:, 0]
            logits_TV = model(torch.from_numpy(batch.inputs_BT[row])[where][None])[0]
            losses_T[where] = F.cross_entropy(logits_TV, targets_T[where], ignore_index=IGNORE, reduction="none")
        rows.append(losses_T)
    return torch.stack(rows)


def test_only_targets_are_learned_and_attention_stays_within_documents(answers: Answers):
    recipe = recipe_of(log_every=1)
    heard = Heard()
    session = Session.open(recipe, WORLD, answers, device=DEVICE, listeners=[heard])
    plain = Session.open(recipe, WORLD, answers, device=DEVICE).model
    losses = [_plain(plain, batch) for batch in answers.passes]
    count = answers.targets(0)
    total = sum(part.sum() for part in losses) / count
    total.backward()
    with answers.read([0], passes=2, reader=0, readers=1) as passes:
        outcome = session.step(passes)
    assert 0 < count < 2 * 2 * 32
    assert outcome.loss.item() == pytest.approx(total.item(), abs=1e-6)
    norm = torch.stack([parameter.grad.norm() for parameter in plain.parameters()]).norm()
    assert outcome.norm.item() == pytest.approx(norm.item(), rel=1e-5)
    scored = [torch.from_numpy(batch.targets_BT != IGNORE) for batch in answers.passes]
    nats_S = [losses[0][0].sum(), losses[0][1].sum() + losses[1].sum()]
    targets_S = [scored[0][0].sum(), scored[0][1].sum() + scored[1].sum()]
    assert session.source_sums is not None
    assert session.source_sums[0].tolist() == pytest.approx([nats.item() for nats in nats_S], abs=1e-4)
    assert session.source_sums[1].tolist() == [targets.item() for targets in targets_S]


def test_model_optimizer_and_schedule_can_be_given(answers: Answers):
    recipe = recipe_of()
    model = Session.open(recipe, WORLD, answers, device=DEVICE).model
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.ndim == 1)
    frozen = {name: parameter.clone() for name, parameter in model.named_parameters()}
    rates = [0.0, 1e-3]
    with Session.open(recipe, WORLD, answers, device=DEVICE, model=model, schedule=rates.__getitem__) as session:
        first = run_two_steps(session, answers)
    assert session.model is model
    assert [outcome.lr for outcome in first] == rates
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, frozen[name]) == (parameter.ndim == 2), name


def run_two_steps(session: Session, answers: Answers) -> list[Outcome]:
    with answers.read([0, 1], passes=2, reader=0, readers=1) as passes:
        return [session.step(passes) for _ in range(2)]


def test_session_without_a_run_saves_nothing(answers: Answers, tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    recipe = recipe_of(tokens=5 * 128)
    with Session.open(recipe, WORLD, answers, device=DEVICE) as session:
        assert not run(session, 3)
        assert run(session)
    assert session.state.step == 5
    assert list(tmp_path.iterdir()) == []


def test_session_goes_on_from_its_checkpoint(answers: Answers, tmp_path):
    recipe, directory = recipe_of(tokens=6 * 128), RunDir(tmp_path / "run")
    with Session.open(recipe, WORLD, answers, device=DEVICE) as whole:
        run(whole)
    with Session.open(recipe, WORLD, answers, device=DEVICE, run=directory) as first:
        run(first, 3)
    [(step, path)] = list_checkpoints(directory)
    assert step == 3
    with Session.open(recipe, WORLD, answers, device=DEVICE, checkpoint=(path, first.state)) as second:
        run(second)
    for one, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)


class Ends(Listener):
    """Sends this process a signal after the second step."""

    def stepped(self, session: Session, outcome: Outcome) -> None:
        if session.state.step == 2:
            signal.raise_signal(signal.SIGTERM)


class Looks(Listener):
    """Sends this process a signal while the model is looked at before the first step."""

    looked = False

    def began(self, session: Session) -> None:
        signal.raise_signal(signal.SIGINT)
        self.looked = True


def test_a_signal_before_the_first_step_ends_a_session_at_once(
    answers: Answers, tmp_path, capsys: pytest.CaptureFixture[str]
):
    directory, looks = RunDir(tmp_path / "run"), Looks()
    session = Session.open(recipe_of(), WORLD, answers, device=DEVICE, run=directory, listeners=[looks])
    with pytest.raises(Interrupted) as caught, session:
        run(session)
    assert caught.value.exit_code == 128 + signal.SIGINT
    assert (looks.looked, session.state.step, list_checkpoints(directory)) == (False, 0, [])
    assert "stopped before step 1; `--resume` begins the run" in capsys.readouterr().err


def test_a_signal_ends_a_session_after_its_step_and_saves_it(answers: Answers, tmp_path):
    directory = RunDir(tmp_path / "run")
    session = Session.open(recipe_of(), WORLD, answers, device=DEVICE, run=directory, listeners=[Ends()])
    with pytest.raises(Interrupted) as caught, session:
        run(session)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert [step for step, _ in list_checkpoints(directory)] == [3]
