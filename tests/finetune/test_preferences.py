"""The losses of pairs and their gradients, against each answer alone in the model and the formulas of the papers."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from puna.config.finetune import PreferenceConfig
from puna.config.recipe import ModelConfig, OptimConfig, ParallelConfig, Recipe, TrainConfig
from puna.core.errors import TrainError
from puna.finetune.preferences import FIGURES, PairTable, PreferenceObjective
from puna.model.llama import Llama
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.objective import Objective, Passed
from puna.parallel.world import World

WORLD = World(0, 1, torch.device("cpu"), None)
LOSSES = ["dpo", "ipo", "dpo-norm", "apo-zero"]
CONTEXT = 48

Answer = tuple[list[int], list[int]]
"""The tokens of a prompt, and of an answer to it."""


def recipe_of(**train: Any) -> Recipe:
    sizes = {"tokens": 4096, "batch_tokens": 2 * CONTEXT, "micro_batch_tokens": 2 * CONTEXT, "precision": "fp32"}
    model = ModelConfig(
        dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=48, vocab_size=288, context=CONTEXT, init_std=0.2
    )
    return Recipe(
        name="pairs", seed=5, model=model, train=TrainConfig.model_validate(sizes | {"compile": False} | train),
        optim=OptimConfig(warmup_steps=0), parallel=ParallelConfig(),
    )  # fmt: skip


def pairs_of(count: int, seed: int = 0) -> list[tuple[Answer, Answer]]:
    """Pairs of answers of one to six tokens to prompts of one to four."""
    generator = torch.Generator().manual_seed(seed)

    def some(most: int) -> list[int]:
        size = int(torch.randint(1, most + 1, (), generator=generator))
        return torch.randint(3, 288, (size,), generator=generator).tolist()

    prompts = [some(4) for _ in range(count)]
    return [((prompt, some(6)), (prompt, some(6))) for prompt in prompts]


def packed(sequences: list[list[int]], pairs: list[tuple[Answer, Answer]]) -> Passed:
    """Sequences with these pairs, by their numbers, one answer after the other."""
    most = max(map(len, sequences))
    rows: dict[str, list[Any]] = {name: [] for name in ("inputs", "targets", "documents", "positions", "pairs")}
    for numbers in sequences:
        row: dict[str, list[int]] = {name: [] for name in rows}
        for document, (prompt, answer) in enumerate(answer for number in numbers for answer in pairs[number]):
            text = [*prompt, *answer]
            row["inputs"] += text[:-1]
            row["targets"] += [-1] * (len(prompt) - 1) + answer
            row["documents"] += [document] * (len(text) - 1)
            row["positions"] += range(len(text) - 1)
        left = CONTEXT - len(row["inputs"])
        for name, filler in (("inputs", 7), ("targets", -1), ("documents", 2 * len(numbers))):
            row[name] += [filler] * left
        row["positions"] += range(left)
        row["pairs"] = numbers + [-1] * (most - len(numbers))
        for name, values in row.items():
            rows[name].append(values)
    tensors = {name: torch.tensor(values) for name, values in rows.items()}
    return Passed(
        inputs_BT=tensors["inputs"], targets_BT=tensors["targets"], documents_BT=tensors["documents"],
        positions_BT=tensors["positions"], pairs_BK=tensors["pairs"],
    )  # fmt: skip


def by_pair(losses_BP: Tensor, sequences: list[list[int]], pairs: list[tuple[Answer, Answer]]) -> dict[int, float]:
    """The losses of `packed` sequences by their pairs' numbers; what is behind the last pair has none."""
    found = {}
    for losses_P, numbers in zip(losses_BP, sequences, strict=True):
        sizes = [sum(len(prompt) + len(answer) - 1 for prompt, answer in pairs[number]) for number in numbers]
        *parts, rest_P = losses_P.split([*sizes, CONTEXT - sum(sizes)])
        assert not rest_P.any()
        found |= {number: part_P.sum().item() for number, part_P in zip(numbers, parts, strict=True)}
    return found


def log_probability(model: Llama, answer: Answer) -> Tensor:
    """Of one answer alone, by all logits at once."""
    prompt, tokens = answer
    logits_TV = model(torch.tensor([[*prompt, *tokens]]))[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits_TV, dim=-1).gather(1, torch.tensor(tokens)[:, None]).sum()


def formula(loss: str, ours: list[Tensor], theirs: list[float], lengths: list[int], beta: float) -> Tensor:
    """The loss of one pair as the papers write it."""
    chosen, rejected = (log - float(reference) for log, reference in zip(ours, theirs, strict=True))
    if loss == "dpo":
        return -torch.log(1 / (1 + torch.exp(-(beta * chosen - beta * rejected))))
    if loss == "dpo-norm":
        return -torch.log(torch.sigmoid(beta / lengths[0] * chosen - beta / lengths[1] * rejected))
    if loss == "ipo":
        return (chosen / lengths[0] - rejected / lengths[1] - 1 / (2 * beta)) ** 2
    return (1 - torch.sigmoid(beta * chosen)) + torch.sigmoid(beta * rejected)


def objective_of(loss: str, beta: float = 0.1, **train: Any) -> PreferenceObjective:
    recipe = recipe_of(**train)
    mesh = build_mesh(recipe.parallel, WORLD)
    model = build_model(recipe, mesh, WORLD.device)
    config = PreferenceConfig.model_validate({"loss": loss, "beta": beta})
    return PreferenceObjective(tokens=Objective.of(recipe, model, mesh), config=config)


def table_of(reference_E2: Tensor, sources: list[int] | None = None) -> PairTable:
    names = sources or [0] * len(reference_E2)
    return PairTable(reference_E2=reference_E2.double(), sources_E=torch.tensor(names), sources=max(names) + 1)


@pytest.mark.parametrize("loss", LOSSES)
def test_packed_losses_and_gradients_equal_the_formulas_on_each_answer_alone(loss: str):
    objective, pairs = objective_of(loss, beta=0.3), pairs_of(5)
    model = objective.tokens.model
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        logs_E2 = torch.tensor([[log_probability(model, answer) for answer in pair] for pair in pairs])
    reference_E2 = logs_E2 + torch.randn(5, 2, generator=generator)
    expected = []
    for number, pair in enumerate(pairs):
        ours, lengths = [log_probability(model, answer) for answer in pair], [len(tokens) for _, tokens in pair]
        expected.append(formula(loss, ours, reference_E2[number].tolist(), lengths, 0.3))
    gradients = torch.autograd.grad(torch.stack(expected).sum(), list(model.parameters()))
    objective.table = table_of(reference_E2)
    with objective.passes():
        total, losses_BP = objective.train(packed([[3, 0], [1, 4, 2]], pairs))
        total.backward()
    found = by_pair(losses_BP, [[3, 0], [1, 4, 2]], pairs)
    assert [found[number] for number in range(5)] == pytest.approx([one.item() for one in expected], rel=1e-5)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


TRL = {
    "dpo": (3.2915186882019043, 9.26572322845459, 1.7685863971710205),
    "ipo": (52.627655029296875, 178.20721435546875, 35.932003021240234),
    "dpo-norm": (1.3975369930267334, 2.5025765895843506, 0.4825010597705841),
    "apo-zero": (1.2173945903778076, 1.729073405265808, 0.33281511068344116),
}
"""Of TRL 1.16.0's DPOTrainer (transformers 5.23, loss_type sigmoid, ipo, sigmoid_norm, apo_zero) on `of_trl`: the mean
loss, the norm of the gradient, and that of the output layer's."""


def of_trl(model: Llama) -> tuple[list[tuple[Answer, Answer]], Tensor]:
    """The pairs and what the reference model says of them; the model gets its weights."""
    for at, parameter in enumerate(model.parameters()):
        waves = torch.sin(0.37 * torch.arange(parameter.numel(), dtype=torch.float64) * (at + 1) + at)
        parameter.data.copy_((0.25 * waves + float(parameter.ndim == 1)).view_as(parameter))
    pairs = []
    for i in range(4):
        prompt = [7 * i + 3, 11 * i + 5, 40 + i]
        chosen = [(13 * i + 29 * k) % 280 + 5 for k in range(2 + i)]
        rejected = [(17 * i + 31 * k) % 280 + 4 for k in range(5 - i)]
        pairs.append(((prompt, chosen), (prompt, rejected)))
    return pairs, torch.tensor([[-22.0 + i, -25.0 - i] for i in range(4)])


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_gradients_are_those_of_trl(loss: str):
    objective = objective_of(loss, beta=0.3)
    model = objective.tokens.model
    pairs, reference_E2 = of_trl(model)
    objective.table = table_of(reference_E2)
    with objective.passes():
        total, losses_BP = objective.train(packed([[0, 1], [2, 3]], pairs))
        (total / 4).backward()
    norm = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm().item()
    found = losses_BP.sum().item() / 4, norm, model.output.weight.grad.norm().item()
    assert found == pytest.approx(TRL[loss], rel=3e-6)
    assert objective.sums_FS is not None
    if loss in ("dpo", "apo-zero"):
        # Its rewards are of sums for every loss.
        assert (objective.sums_FS[2:, 0] / 4).tolist() == pytest.approx(
            [0.25, -0.08970874547958374, 1.8625872135162354, -20.799028396606445, -20.2913761138916], rel=3e-6
        )


@pytest.mark.parametrize(
    ("loss", "first"), [("dpo", math.log(2)), ("dpo-norm", math.log(2)), ("ipo", 25.0), ("apo-zero", 1.0)]
)
def test_first_loss_is_that_of_equal_models_and_it_moves(loss: str, first: float):
    objective, pairs = objective_of(loss), pairs_of(4)
    passed = packed([[0, 1], [2, 3]], pairs)
    objective.table = table_of(objective.log_probabilities(passed).view(4, 2))
    optimizer = torch.optim.SGD(objective.tokens.model.parameters(), lr=0.02)
    losses = []
    for _ in range(4):
        with objective.passes():
            total, losses_BP = objective.train(passed)
            (total / 4).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(losses_BP.sum().item() / 4)
    assert losses[0] == pytest.approx(first, abs=1e-9)
    assert losses == sorted(losses, reverse=True)
    assert losses[3] < first - 1e-3


def test_how_pairs_are_packed_changes_neither_losses_nor_gradients():
    pairs, gradients, sums = pairs_of(4), [], []
    for passes in ([[[0, 1, 2, 3]]], [[[3], [2]], [[1], [0]]], [[[0, 2], [1, 3]]]):
        objective = objective_of("dpo")
        objective.table = table_of(torch.full((4, 2), -20.0))
        total = torch.zeros((), dtype=torch.float64)
        with objective.passes():
            for sequences in passes:
                loss, losses_BP = objective.train(packed(sequences, pairs))
                loss.backward()
                total += losses_BP.sum()
        sums.append(total.item())
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in objective.tokens.model.parameters()]))
    assert sums == pytest.approx([sums[0]] * 3, rel=1e-6)
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-4, atol=1e-6 * float(gradients[0].abs().max()))


def test_figures_are_summed_by_source_and_start_again_at_each_step():
    objective, pairs = objective_of("dpo", beta=0.5), pairs_of(3)
    passed = packed([[0, 1], [2]], pairs)
    ours_E2 = objective.log_probabilities(passed).flatten(0, 1)[:3]
    first, second, third = ours_E2.tolist()
    reference_E2 = ours_E2 - torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    objective.table = table_of(reference_E2, sources=[1, 0, 1])
    for _ in range(2):
        with objective.passes():
            objective.train(passed)
    assert objective.sums_FS is not None
    found = {name: values.tolist() for name, values in zip(FIGURES, objective.sums_FS, strict=True)}
    margins = [0.5, -1.0, 1.0]
    losses = [math.log1p(math.exp(-margin)) for margin in margins]
    assert found["pairs"] == [1, 2]
    assert found["right"] == [0, 2]
    assert found["loss"] == pytest.approx([losses[1], losses[0] + losses[2]], abs=1e-5)
    assert found["chosen_reward"] == pytest.approx([0.0, 2.0], abs=1e-5)
    assert found["rejected_reward"] == pytest.approx([1.0, 0.5], abs=1e-5)
    assert found["chosen_log_prob"] == pytest.approx([second[0], first[0] + third[0]])
    assert found["rejected_log_prob"] == pytest.approx([second[1], first[1] + third[1]])
    torch.testing.assert_close(objective.measure(passed, objective.table), objective.sums_FS)


def test_steps_before_the_reference_is_known_are_refused():
    objective = objective_of("dpo")
    with objective.passes(), pytest.raises(RuntimeError, match="reference log-probabilities"):
        objective.train(packed([[0]], pairs_of(1)))


def test_batches_without_pairs_are_refused():
    objective = objective_of("dpo")
    objective.table = table_of(torch.zeros(1, 2))
    tokens_BT = torch.full((1, CONTEXT), 5)
    with objective.passes(), pytest.raises(ValueError, match="a batch of pairs has"):
        objective.train(Passed(inputs_BT=tokens_BT, targets_BT=tokens_BT))


def test_z_loss_is_refused():
    with pytest.raises(TrainError, match=r"train\.z_loss = 0\.0001 is a part of the loss of tokens"):
        objective_of("dpo", z_loss=1e-4)
