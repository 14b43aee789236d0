"""What an adapter adds makes the merged model's layers, and what does not fit a model is refused by name."""

from collections.abc import Sequence

import pytest
import torch
from adapting import merged, random_adapter
from instruction_sets import has
from model_source import ModelSource, random_model

from puna.config.recipe import ModelConfig
from puna.core.errors import CheckpointError, GenerateError
from puna.infer.adapters import Products, linear_shapes, products_of
from puna.infer.graph_runner import GraphRunner
from puna.infer.kernel_runner import KernelRunner
from puna.infer.operator_runner import OperatorRunner
from puna.infer.runner import Piece, Runner, rows_of
from puna.model.adapter import Adapter, LowRank
from puna.model.llama import Llama
from puna.ops.cpu.builder import find_compiler
from puna.ops.cpu.decoder import InstructionSet
from puna.ops.quantized import WeightKind, dequantize, quantize

CONFIG = ModelConfig(
    dim=64, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=20, ffn_dim=96, vocab_size=300, context=48
)  # fmt: skip
MODEL = random_model(CONFIG)


def test_linear_layers_are_those_of_the_decoder() -> None:
    modules = {name: module for name, module in MODEL.named_modules() if isinstance(module, torch.nn.Linear)}
    assert linear_shapes(CONFIG) == {name: tuple(module.weight.shape) for name, module in modules.items()}


@pytest.mark.parametrize("magnitudes", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_layers_with_what_is_added_are_those_of_the_merged_model(magnitudes: bool, tied: bool) -> None:
    model = random_model(CONFIG.model_copy(update={"tie_embeddings": tied}))
    adapter = random_adapter(CONFIG, seed=1, scale=0.7, magnitudes=magnitudes)
    products = products_of(adapter, ModelSource(model), name="one")
    whole = merged(model, adapter)
    for name, product in products.items():
        layer = model.get_submodule(name)
        x = torch.randn(3, layer.in_features, generator=torch.Generator().manual_seed(2))
        torch.testing.assert_close(product.added(x, layer(x)), whole.get_submodule(name)(x), atol=1e-5, rtol=1e-4)


def low_rank(rank: int, inputs: int, outputs: int) -> LowRank:
    return LowRank(a_RI=torch.ones(rank, inputs), b_OR=torch.ones(outputs, rank), scale=1.0)


@pytest.mark.parametrize(
    ("adapter", "says"),
    [
        (
            Adapter(updates={"layers.2.attention.wq": low_rank(4, 64, 80)}),
            "mine: changes layers.2.attention.wq.weight, which",
        ),
        (Adapter(updates={"output": low_rank(4, 60, 300)}), r"it makes output.weight \[300, 60\], but"),
        (Adapter(updates={"output": low_rank(4, 64, 301)}), r"it makes output.weight \[301, 64\], but"),
        (Adapter(updates={}, whole={"norm.weight": torch.ones(64)}), "adapter mine: norm.weight was trained whole"),
    ],
)  # fmt: skip
def test_an_adapter_that_does_not_fit_is_refused_by_name(adapter: Adapter, says: str) -> None:
    with pytest.raises((CheckpointError, GenerateError), match=says):
        products_of(adapter, ModelSource(MODEL), name="mine")


ADAPTERS = {
    "polite": random_adapter(CONFIG, rank=5, seed=1),
    "terse": random_adapter(CONFIG, rank=17, seed=2, magnitudes=True, only=["wk", "w1", "w2", "output"]),
}
PRODUCTS = {name: products_of(adapter, ModelSource(MODEL), name=name) for name, adapter in ADAPTERS.items()}
TEXTS = torch.randint(0, 300, (4, 20), generator=torch.Generator().manual_seed(3)).tolist()
NUMBERS = (-1, 0, 1, 0)
"""The adapter of each text."""


def steps(runner: Runner, chunks: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Logits of all positions of each text, computed in steps of so many rows of each."""
    tables = torch.arange(8, dtype=torch.int32).view(4, 2)
    found: list[list[torch.Tensor]] = [[] for _ in TEXTS]
    done = [0] * len(TEXTS)
    for counts in chunks:
        pieces = [
            Piece(slot, done[slot], TEXTS[slot][done[slot] : done[slot] + count], range(count), NUMBERS[slot])
            for slot, count in enumerate(counts) if count
        ]  # fmt: skip
        parts = runner.logits(rows_of(pieces, tables)).split([len(piece.tokens) for piece in pieces])
        for piece, part in zip(pieces, parts, strict=True):
            found[piece.slot].append(part)
            done[piece.slot] += len(piece.tokens)
    return [torch.cat(parts) for parts in found]


CHUNKS = ((5, 12, 0, 7), (1, 1, 1, 1), (1, 1, 1, 1), (13, 6, 18, 11))


def whole(kind: WeightKind = WeightKind.FLOAT32) -> list[torch.Tensor]:
    """Logits of the merged models in float64, whose weights but the adapter's are rounded."""
    model = random_model(CONFIG)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and name != "tok_embeddings.weight":
            if kind == WeightKind.BFLOAT16:
                parameter.copy_(parameter.bfloat16())
            elif kind.is_quantized:
                kept = WeightKind.INT8 if name == "output.weight" else kind
                parameter.copy_(dequantize(quantize(parameter, kept)))
    models = [model, *(_with_factors(model, adapter) for adapter in ADAPTERS.values())]
    return [
        models[number + 1].double()(torch.tensor([text]))[0] for number, text in zip(NUMBERS, TEXTS, strict=True)
    ]  # fmt: skip


def _with_factors(rounded: Llama, adapter: Adapter) -> Llama:
    """The merged model of rounded weights; DoRA's norms are those of the weights that were not rounded."""
    model = merged(rounded, adapter)
    for name, update in adapter.updates.items():
        if update.magnitude_O is not None:
            added_OI = update.scale * (update.b_OR @ update.a_RI)
            norms_O1 = (MODEL.get_submodule(name).weight + added_OI).norm(dim=1, keepdim=True)
            kept_OI = rounded.get_submodule(name).weight
            model.get_submodule(name).weight.copy_((kept_OI + added_OI) * update.magnitude_O[:, None] / norms_O1)
    return model


def distances(found: list[torch.Tensor], expected: list[torch.Tensor]) -> list[float]:
    return [((one - other).norm() / other.norm()).item() for one, other in zip(found, expected, strict=True)]


@pytest.mark.skipif(
    find_compiler() is None or not any(map(has, InstructionSet)), reason="no compiler, or neither AVX2 nor AVX-512"
)
@pytest.mark.parametrize("kind", list(WeightKind))
def test_kernels_compute_the_merged_models_of_all_adapters_in_one_step(kind: WeightKind) -> None:
    # Activations of 8 bits are what remains between integers and the model of their weights.
    limit = 0.03 if kind.is_quantized else 1e-5
    expected = whole(kind)
    found = []
    for instructions in filter(has, InstructionSet):
        runner = KernelRunner(
            ModelSource(MODEL), kind, torch.float32, pages=8, instructions=instructions, adapters=PRODUCTS
        )  # fmt: skip
        assert runner.adapters == ("polite", "terse")
        found.append(steps(runner, CHUNKS))
        assert max(distances(found[-1], expected)) < limit
        assert all(torch.equal(one, other) for one, other in zip(found[0], found[-1], strict=True))
    assert min(distances(found[0], whole(kind)[1:] + whole(kind)[:1])) > 0.1  # adapters differ by far more


@pytest.mark.parametrize("compiled", [False, True])
def test_operators_compute_the_merged_models_of_all_adapters_in_one_step(compiled: bool) -> None:
    model = random_model(CONFIG)
    tokens = torch.tensor(TEXTS)
    before = model(tokens)
    runner: Runner = OperatorRunner(model, pages=8, adapters=PRODUCTS)
    if compiled:
        runner = GraphRunner(model, pages=8, compiler=lambda function: function, adapters=PRODUCTS)
    expected = whole()
    assert max(distances(steps(runner, CHUNKS), expected)) < 1e-5
    assert torch.equal(model(tokens), before)  # the model itself has no adapter


def test_requests_without_an_adapter_have_the_bits_of_a_runner_without_any() -> None:
    pieces = [Piece(slot, 0, TEXTS[slot], range(20), NUMBERS[slot]) for slot in (0, 1, 2)]
    tables = torch.arange(6, dtype=torch.int32).view(3, 2)
    plain = [Piece(0, 0, TEXTS[0], range(20))]
    for make in (_kernels, _one_by_one):
        expected = make(None).logits(rows_of(plain, tables))
        found = make(PRODUCTS).logits(rows_of(pieces, tables))
        assert torch.equal(found[:20], expected)


def _kernels(adapters: dict[str, Products] | None) -> Runner:
    if find_compiler() is None or not any(map(has, InstructionSet)):
        pytest.skip("no compiler, or neither AVX2 nor AVX-512")
    return KernelRunner(ModelSource(MODEL), WeightKind.INT8, pages=8, adapters=adapters)


def _one_by_one(adapters: dict[str, Products] | None) -> Runner:
    return OperatorRunner(random_model(CONFIG), pages=8, one_by_one=True, adapters=adapters)
