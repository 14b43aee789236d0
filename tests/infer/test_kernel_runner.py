"""The kernels compute what the model computes, and a sequence has the same bits however its rows come."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_sets import has
from model_source import ModelSource, random_model
from torch import Tensor

from puna.config.model import ModelConfig, RopeScaling
from puna.core.errors import GenerateError
from puna.infer.kernel_runner import KernelRunner, obstacle
from puna.infer.runner import Piece, Rows, Runner, rows_of
from puna.ops.cpu.builder import BuildError, find_compiler
from puna.ops.cpu.decoder import InstructionSet, open_kernels
from puna.ops.quantized import WeightKind, dequantize, quantize
from puna.plan.count import matmul_parameters

pytestmark = pytest.mark.skipif(
    find_compiler() is None or not any(map(has, InstructionSet)), reason="no compiler, or neither AVX2 nor AVX-512"
)
KINDS = pytest.mark.parametrize("kind", list(WeightKind))
ODD = ModelConfig(
    dim=200, n_heads=4, n_kv_heads=2, head_dim=50, n_layers=2, ffn_dim=333, vocab_size=301, context=128
)  # fmt: skip
MODEL = random_model(ODD)
TOKENS = torch.randint(0, 301, (70,), generator=torch.Generator().manual_seed(1))


def step(
    runner: Runner,
    sequences: Sequence[tuple[Tensor, int, Sequence[int]]],
    wanted: Sequence[int] | None = None,
) -> Tensor:
    """Logits of one step: of each sequence, its new tokens, the position of the first, and its pages."""
    counts = [len(tokens) for tokens, _, _ in sequences]
    longest = max(len(pages) for _, _, pages in sequences)
    return runner.logits(
        Rows(
            tokens_M=torch.cat([tokens for tokens, _, _ in sequences]),
            positions_M=torch.cat([torch.arange(start, start + len(tokens)) for tokens, start, _ in sequences]).int(),
            sequences_M=torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)).int(),
            tables_SP=torch.tensor([[*pages, *[0] * (longest - len(pages))] for _, _, pages in sequences]).int(),
            wanted_W=torch.arange(sum(counts)) if wanted is None else torch.tensor(wanted, dtype=torch.long),
        )
    )


def whole(runner: Runner, tokens: Tensor) -> Tensor:
    """Logits of all positions in one step."""
    return step(runner, [(tokens, 0, range(-(-len(tokens) // runner.page_size)))])


def expected(config: ModelConfig, tokens: Tensor, kind: WeightKind = WeightKind.FLOAT32) -> Tensor:
    """Those of the model in float64, its matrices rounded or quantized as the kernels'."""
    model = random_model(config)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and (name != "tok_embeddings.weight" or config.tie_embeddings):
            if kind == WeightKind.BFLOAT16:
                parameter.copy_(parameter.bfloat16())
            elif kind.is_quantized:
                last = name == ("tok_embeddings.weight" if config.tie_embeddings else "output.weight")
                parameter.copy_(dequantize(quantize(parameter, WeightKind.INT8 if last else kind)))
    return model.double()(tokens[None])[0]


def distance(found: Tensor, reference: Tensor) -> float:
    return ((found - reference).norm() / reference.norm()).item()


CONFIGS = {
    "odd widths": ODD,
    "one head, no groups": ODD.model_copy(update={"n_heads": 2, "n_kv_heads": 2, "dim": 64, "head_dim": 32}),
    "groups of three": ODD.model_copy(update={"n_heads": 9, "n_kv_heads": 3, "head_dim": 64}),
    "heads wider than the model": ODD.model_copy(update={"head_dim": 128, "dim": 96}),
    "scaled angles": ODD.model_copy(update={"rope_scaling": RopeScaling(kind="llama3", factor=8, original_context=32)}),
    "eps of 65B": ODD.model_copy(update={"norm_eps": 1e-5, "rope_theta": 500_000.0}),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_logits_are_those_of_the_model_in_float64(config: ModelConfig) -> None:
    runner = KernelRunner(ModelSource(random_model(config)), pages=5)
    assert distance(whole(runner, TOKENS), expected(config, TOKENS)) < 3e-6


@KINDS
@pytest.mark.parametrize("cache_dtype", [torch.float32, torch.float16])
def test_each_kind_computes_the_model_of_its_rounded_weights(kind: WeightKind, cache_dtype: torch.dtype) -> None:
    runner = KernelRunner(ModelSource(MODEL), kind, cache_dtype, pages=5)
    # Activations of 8 bits are what remains between integers and the model of their weights.
    limit = 0.03 if kind.is_quantized else 2e-3 if cache_dtype == torch.float16 else 3e-6
    assert distance(whole(runner, TOKENS), expected(ODD, TOKENS, kind)) < limit


def test_an_output_that_is_tied_to_the_embedding_is_quantized_and_the_embedding_is_not() -> None:
    config = ODD.model_copy(update={"tie_embeddings": True})
    model = random_model(config)
    tied = whole(KernelRunner(ModelSource(model), WeightKind.INT8, pages=5), TOKENS)
    apart = random_model(config.model_copy(update={"tie_embeddings": False}))
    apart.load_state_dict({**model.state_dict(), "output.weight": model.tok_embeddings.weight})
    assert torch.equal(tied, whole(KernelRunner(ModelSource(apart), WeightKind.INT8, pages=5), TOKENS))


@KINDS
def test_one_token_at_a_time_has_the_bits_of_one_step(kind: WeightKind) -> None:
    at_once = whole(KernelRunner(ModelSource(MODEL), kind, pages=5), TOKENS)
    runner = KernelRunner(ModelSource(MODEL), kind, pages=8)
    pages = [7, 0, 5, 2, 3]
    one_by_one = [step(runner, [(TOKENS[i : i + 1], i, pages)]) for i in range(len(TOKENS))]
    assert torch.equal(torch.cat(one_by_one), at_once)


@KINDS
@settings(max_examples=20)
@given(data=st.data())
def test_a_sequence_has_the_same_bits_in_any_company_and_chunks(kind: WeightKind, data: st.DataObject) -> None:
    runner = KernelRunner(ModelSource(MODEL), kind, pages=24, page_size=data.draw(st.sampled_from([16, 32])))
    alone = {length: whole(runner, TOKENS[:length]) for length in (5, 33, 64)}
    per_sequence = -(-64 // runner.page_size)
    numbers = torch.tensor(data.draw(st.permutations(range(per_sequence * 4)))).view(4, per_sequence).tolist()
    lengths = [data.draw(st.sampled_from([5, 33, 64])) for _ in range(4)]
    done, logits = [0] * 4, [[] for _ in range(4)]
    while unfinished := [i for i in range(4) if done[i] < lengths[i]]:
        chosen = data.draw(st.lists(st.sampled_from(unfinished), min_size=1, unique=True))
        counts = [data.draw(st.integers(1, lengths[i] - done[i])) for i in chosen]
        rows = [(TOKENS[done[i] : done[i] + n], done[i], numbers[i]) for i, n in zip(chosen, counts, strict=True)]
        parts = step(runner, rows).split(counts)
        for i, n, part in zip(chosen, counts, parts, strict=True):
            logits[i].append(part)
            done[i] += n
    for i, length in enumerate(lengths):
        assert torch.equal(torch.cat(logits[i]), alone[length])


def test_only_wanted_rows_have_logits() -> None:
    runner = KernelRunner(ModelSource(MODEL), pages=5)
    everything = whole(runner, TOKENS)
    some = step(runner, [(TOKENS, 0, range(5))], wanted=[0, 13, 69])
    assert torch.equal(some, everything[[0, 13, 69]])
    assert step(runner, [(TOKENS, 0, range(5))], wanted=[]).shape == (0, 301)
    assert torch.equal(everything, whole(runner, TOKENS))  # the first result is not the memory of later ones


@KINDS
def test_a_copied_page_has_the_bits_of_the_original_and_may_become_a_copy_in_the_same_step(kind: WeightKind) -> None:
    runner = KernelRunner(ModelSource(MODEL), kind, pages=4)
    one, other = TOKENS[:16], TOKENS[16:32]
    step(runner, [(one, 0, [0]), (other, 0, [1])])
    pieces = [Piece(0, 9, [7, 8], range(2)), Piece(1, 12, [9], range(1))]
    copies = [(0, 2), (1, 0)]
    found = runner.logits(rows_of(pieces, torch.tensor([[2], [0]], dtype=torch.int32), copies))
    first = whole(runner, torch.cat([one[:9], torch.tensor([7, 8])]))[-2:]
    second = whole(runner, torch.cat([other[:12], torch.tensor([9])]))[-1:]
    assert torch.equal(found, torch.cat([first, second]))


def test_a_copy_to_a_page_that_does_not_exist_is_refused() -> None:
    runner = KernelRunner(ModelSource(MODEL), pages=4)
    for copies in ([(0, 4)], [(-1, 2)]):
        with pytest.raises(ValueError, match="copy names a page that does not exist"):
            runner.logits(rows_of([Piece(0, 0, [7], range(1))], torch.zeros(1, 1, dtype=torch.int32), copies))


@KINDS
def test_bytes_of_a_step_are_those_of_its_matrices_and_of_its_positions(kind: WeightKind) -> None:
    even = ModelConfig(dim=128, n_heads=4, n_kv_heads=2, n_layers=2, ffn_dim=192, vocab_size=320, context=64)
    runner = KernelRunner(ModelSource(random_model(even)), kind, torch.float16, pages=3)
    bits = {WeightKind.FLOAT32: 32, WeightKind.BFLOAT16: 16, WeightKind.INT8: 8.5, WeightKind.INT4: 4.5}[kind]
    output = even.vocab_size * even.dim
    more = output * 4 / 8 if kind == WeightKind.INT4 else 0  # its output layer has 8 bits
    assert runner.weight_bytes == matmul_parameters(even) * bits / 8 + more
    assert runner.position_bytes == 2 * even.n_layers * even.n_kv_heads * even.head_dim * 2


def test_positions_beyond_the_first_angles_are_those_of_a_longer_table(monkeypatch: pytest.MonkeyPatch) -> None:
    long = whole(KernelRunner(ModelSource(MODEL), pages=5), TOKENS)
    monkeypatch.setattr("puna.infer.kernel_runner._FIRST_ANGLES", 4)
    assert torch.equal(whole(KernelRunner(ModelSource(MODEL), pages=5), TOKENS), long)


def test_weights_stay_as_they_are_stored() -> None:
    def title(dtype: torch.dtype) -> str:
        return KernelRunner(ModelSource(random_model(ODD).to(dtype)), pages=1).title.split(" kernels")[0]

    assert [title(dtype) for dtype in (torch.float32, torch.bfloat16, torch.float16)] == [
        "float32", "bfloat16", "float32"
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [WeightKind.INT8, WeightKind.INT4])
def test_stored_blocks_are_taken_without_loss(kind: WeightKind) -> None:
    names = [name for name, parameter in MODEL.named_parameters() if parameter.dim() == 2]
    blocks = {name: quantize(MODEL.get_parameter(name), kind) for name in names}
    stored = KernelRunner(ModelSource(MODEL, blocks), pages=5)
    assert stored.title.startswith(f"{kind} kernels for")
    del blocks["tok_embeddings.weight"]
    model = random_model(ODD)
    model.tok_embeddings.weight.copy_(dequantize(quantize(model.tok_embeddings.weight, kind)))
    # An output layer that is stored as floats would become INT8.
    output = {"output.weight": blocks["output.weight"]}
    quantized = KernelRunner(ModelSource(model, output), kind, pages=5)
    assert torch.equal(whole(stored, TOKENS), whole(quantized, TOKENS))


def test_matrices_of_one_product_that_are_stored_differently_lose_nothing() -> None:
    four = {"layers.0.attention.wq.weight": WeightKind.INT4, "layers.0.attention.wk.weight": WeightKind.INT8}
    four["layers.0.attention.wv.weight"] = WeightKind.INT4
    four["layers.1.feed_forward.w1.weight"] = WeightKind.INT4
    blocks = {name: quantize(MODEL.get_parameter(name), kind) for name, kind in four.items()}
    model = random_model(ODD)
    for name, found in blocks.items():
        model.get_parameter(name).copy_(dequantize(found))
    runner = KernelRunner(ModelSource(MODEL, blocks), cache_dtype=torch.float32, pages=5)
    assert runner.title.startswith("float32 and int8 kernels for")
    reference = model.double()(TOKENS[None])[0]
    assert distance(whole(runner, TOKENS), reference) < 0.02
    limits = {WeightKind.FLOAT32: 3e-6, WeightKind.BFLOAT16: 0.02, WeightKind.INT8: 0.04, WeightKind.INT4: 0.5}
    for kind, limit in limits.items():  # any kind can be asked for
        other = KernelRunner(ModelSource(MODEL, blocks), kind, torch.float32, pages=5)
        assert distance(whole(other, TOKENS), reference) < limit


def test_damage_in_one_sequence_stays_there() -> None:
    model = random_model(ODD)
    model.tok_embeddings.weight[7] = float("inf")
    tokens = TOKENS[:20].clone()
    tokens[tokens == 7] = 8
    for kind in WeightKind:
        runner = KernelRunner(ModelSource(model), kind, pages=5)
        clean = whole(runner, tokens)
        both = step(runner, [(torch.tensor([7, 7]), 0, [0]), (tokens, 0, [1, 2])])
        assert not both[:2].isfinite().any()
        assert torch.equal(both[2:], clean)
        # The pages that the damaged sequence leaves, and its rows of every buffer, are used again.
        assert torch.equal(step(runner, [(tokens, 0, [0, 1])]), clean)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"norm": "layer"}, 'norm = "layer" is a LayerNorm'),
        ({"norm": "layer-bias"}, 'norm = "layer-bias" is a LayerNorm'),
        ({"qk_norm": True}, "qk_norm"),
        ({"rotary": "head"}, 'rotary = "head"'),
    ],
)
def test_a_model_that_the_kernels_do_not_compute_is_refused_by_name(change: dict[str, object], says: str) -> None:
    config = ODD.model_copy(update={**change, "n_kv_heads": 4})
    assert says in (obstacle(config) or "")
    with pytest.raises(GenerateError, match="the kernels cannot compute this model"):
        KernelRunner(ModelSource(random_model(config)), pages=1)


def test_a_model_of_llama_has_no_obstacle() -> None:
    assert obstacle(ODD) is None


def test_a_machine_without_a_compiler_is_told_and_one_that_is_installed_later_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_kernels.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr("puna.ops.cpu.builder.find_compiler", lambda: None)
        with pytest.raises(BuildError, match=r"^no C\+\+ compiler was found"):
            KernelRunner(ModelSource(MODEL), pages=1)
    KernelRunner(ModelSource(MODEL), pages=1)


def test_pages_of_other_sizes_are_refused() -> None:
    for size in (0, 8, 24):
        with pytest.raises(ValueError, match=f"a multiple of 16 positions, not {size}"):
            KernelRunner(ModelSource(MODEL), pages=1, page_size=size)


def test_a_processor_without_the_instructions_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "DEFAULT")
    with pytest.raises(BuildError, match="neither AVX2 nor AVX-512"):
        KernelRunner(ModelSource(MODEL), pages=1)


def test_pytorchs_own_restriction_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    assert KernelRunner(ModelSource(MODEL), pages=1).title == "float32 kernels for AVX2"
