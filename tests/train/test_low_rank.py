"""Runs in which low-rank updates learn, or a part of the weights: what is saved of them, and how they go on."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from puna.config.finetune import FinetuneConfig
from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError, TrainError
from puna.core.layout import DataDir, RunDir
from puna.core.schema.lines import Line, TrainLine
from puna.core.schema.train_state import list_checkpoints
from puna.model import lora
from puna.model.files import load_model
from puna.model.parts import is_update
from puna.ops.bits import same_bits
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.world import World
from puna.plan.count import flops_per_token
from puna.plan.learning import learning_of
from puna.tokenizer.load import load_tokenizer
from puna.train.checkpoint import read_state
from puna.train.feed import TokenFeed
from puna.train.initial import load_initial
from puna.train.loop import run as run_steps
from puna.train.pretrain import open_data
from puna.train.session import Listener, Session

WORLD = World(0, 1, torch.device("cpu"), None)
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "lora": {"rank": 3}},
    "dora": {"method": "lora", "lora": {"rank": 3, "dora": True}},
    "int4": {"method": "lora", "lora": {"rank": 3, "dora": True}, "base": "int4"},
    "frozen": {"freeze": ["tok_embeddings.*", "layers.0.*"]},
}


def tuned(tiny: Recipe, base: RunDir, kind: str, precision: str = "fp32", **model: Any) -> Recipe:
    """The tiny recipe, but it goes on with the model of a run by another method."""
    train = tiny.train.model_copy(
        update={"init_from": str(base), "precision": precision, "tokens": 8 * tiny.train.batch_tokens}
    )
    return tiny.model_copy(
        update={
            "train": train,
            "model": tiny.model.model_copy(update=model),
            "finetune": FinetuneConfig.model_validate(KINDS[kind]),
        }
    )


def opened(recipe: Recipe, data: DataDir, run: RunDir) -> Session:
    """A session that begins, or goes on where the run has a checkpoint."""
    loader = open_data(recipe, data, load_tokenizer(data.tokenizer), verify=False)[0]
    paths = list_checkpoints(run)
    found = (paths[-1][1], read_state(paths[-1][1])) if paths else None
    return Session.open(recipe, WORLD, TokenFeed(loader, recipe), run=run, checkpoint=found)


def trained(recipe: Recipe, data: DataDir, run: RunDir, until: int | None = None) -> dict[str, Tensor]:
    """Everything in the session's model after its steps."""
    with opened(recipe, data, run) as session:
        run_steps(session, until)
        return {name: weight.detach().clone() for name, weight in session.model.named_parameters()}


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("lora", "fp32"), ("int4", "fp32"), ("frozen", "fp32"), ("dora", "bf16"), ("lora", "bf16-stochastic")],
)
def test_a_run_that_goes_on_is_the_unbroken_run_to_the_bit(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path, kind: str, precision: str
) -> None:
    recipe = tuned(tiny, tiny_run, kind, precision)
    unbroken = trained(recipe, tiny_data, RunDir(tmp_path / "unbroken"))
    broken = RunDir(tmp_path / "broken")
    first = trained(recipe, tiny_data, broken, until=3)
    assert any(not same_bits(first[name], unbroken[name]) for name in unbroken)
    again = trained(recipe, tiny_data, broken)
    assert again.keys() == unbroken.keys()
    assert all(same_bits(again[name], unbroken[name]) for name in unbroken)


@pytest.mark.parametrize("kind", ["lora", "frozen"])
def test_a_checkpoint_holds_what_learns_and_nothing_else(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path, kind: str
) -> None:
    run = RunDir(tmp_path)
    weights = trained(tuned(tiny, tiny_run, kind), tiny_data, run, until=2)
    saved = load_file(next(list_checkpoints(run)[-1][1].glob("*.safetensors")))
    names = {key.removeprefix("model.") for key in saved if key.startswith("model.")}
    if kind == "lora":
        assert names == {name for name in weights if is_update(name)}
    else:
        assert names == {n for n in weights if not n.startswith(("tok_embeddings.", "layers.0."))}
    assert {key.split(".", 1)[1].rpartition(".")[0] for key in saved if key.startswith("optim.")} == names


class _Lines(Listener):
    """Keeps the lines of logged steps."""

    def __init__(self) -> None:
        self.found: list[TrainLine] = []

    def recorded(self, session: Session, line: Line) -> None:
        if isinstance(line, TrainLine):
            self.found.append(line)


@pytest.mark.parametrize("new_tokens", [0, 4])
def test_utilisation_counts_gradients_of_what_learns(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, new_tokens: int
) -> None:
    recipe = tuned(tiny, tiny_run, "lora", vocab_size=tiny.model.vocab_size + new_tokens)
    loader = open_data(tuned(tiny, tiny_run, "lora"), tiny_data, load_tokenizer(tiny_data.tokenizer), verify=False)[0]
    lines = _Lines()
    with Session.open(recipe, WORLD, TokenFeed(loader, recipe), listeners=[lines]) as session:
        run_steps(session, 1)
    learning = learning_of(recipe, tokens_learn=new_tokens > 0)
    flops = flops_per_token(recipe.model, recipe.model.context, learning)["causal"]
    (line,) = lines.found
    assert line.flops_per_second["causal"] == pytest.approx(flops * line.tokens_per_second)
    assert flops < flops_per_token(recipe.model, recipe.model.context)["causal"]


def test_what_is_frozen_is_the_base_before_and_after(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path
) -> None:
    base = dict(load_model(tiny_run.model).model.named_parameters())
    weights = trained(tuned(tiny, tiny_run, "lora"), tiny_data, RunDir(tmp_path))
    assert all(same_bits(weights[name], weight) for name, weight in base.items())
    assert any(weights[name].abs().max() > 0 for name in weights if name.endswith("update.b"))


def test_another_base_than_that_of_the_checkpoint_is_refused(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path
) -> None:
    recipe, run, copy = tuned(tiny, tiny_run, "lora"), RunDir(tmp_path / "run"), tmp_path / "copy"
    trained(recipe, tiny_data, run, until=2)
    shutil.copytree(tiny_run.checkpoints, copy / "checkpoints")
    other = recipe.model_copy(update={"train": recipe.train.model_copy(update={"init_from": str(copy)})})
    with pytest.raises(CheckpointError, match=r"is not the model that .*step-00000002 was trained on"):
        opened(other, tiny_data, run)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_first_loss_is_that_of_the_base(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path, precision: str
) -> None:
    losses = []
    for kind in ("lora", "dora", "frozen"):
        session = opened(tuned(tiny, tiny_run, kind, precision), tiny_data, RunDir(tmp_path / kind))
        with session, session.batches() as passes:
            losses.append(session.step(passes).loss.item())
    assert losses[0] == losses[1] == losses[2]


def test_rows_of_new_tokens_learn_beside_updates(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path
) -> None:
    grown = tiny.tokenizer.model_copy(update={"taken_from": str(tiny_data)})
    recipe = tuned(tiny, tiny_run, "lora", vocab_size=520).model_copy(update={"tokenizer": grown})
    run = RunDir(tmp_path)
    with opened(recipe, tiny_data, run) as session:
        assert set(lora.adapter_of(session.model).whole) == {"tok_embeddings.weight", "output.weight"}
    first = trained(recipe, tiny_data, run, until=3)
    again = trained(recipe, tiny_data, run)
    assert not torch.equal(first["output.weight"], again["output.weight"])


def test_tokens_that_take_rows_of_padding_learn_beside_updates_unless_that_is_forbidden(
    tiny: Recipe, tiny_run: RunDir
) -> None:
    recipe = tuned(tiny, tiny_run, "lora")
    for new, expected in ((range(509, 511), {"tok_embeddings.weight", "output.weight"}), (range(511, 511), set())):
        model = build_model(recipe, build_mesh(recipe.parallel, WORLD), WORLD.device, drawn=False)
        load_initial(tiny_run.model, model, WORLD, new_tokens=new, freeze=["layers.*"])
        assert {name for name, weight in model.named_parameters() if weight.requires_grad} == expected | {
            name for name, _ in model.named_parameters() if is_update(name)
        }
    with pytest.raises(TrainError, match=r"finetune\.freeze: 'tok_\*' keeps tok_embeddings\.weight from learning"):
        load_initial(tiny_run.model, model, WORLD, new_tokens=range(509, 511), freeze=["tok_*"])


def test_rows_of_new_tokens_may_not_be_kept_from_learning_where_all_else_learns_whole(
    tiny: Recipe, tiny_run: RunDir
) -> None:
    model = build_model(tiny, build_mesh(tiny.parallel, WORLD), WORLD.device, drawn=False)
    with pytest.raises(TrainError, match=r"finetune\.freeze: 'tok_\*' keeps tok_embeddings\.weight from learning"):
        load_initial(tiny_run.model, model, WORLD, new_tokens=range(509, 511), freeze=["tok_*"])
    load_initial(tiny_run.model, model, WORLD, new_tokens=range(509, 511), freeze=["layers.0.*"])
    load_initial(tiny_run.model, model, WORLD, freeze=["tok_*"])


def test_float8_products_are_refused_beside_frozen_matrices(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path
) -> None:
    recipe = tuned(tiny, tiny_run, "lora")
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"float8": True})})
    with pytest.raises(TrainError, match="float8"):
        opened(recipe, tiny_data, RunDir(tmp_path))
