from typing import Any

import pytest
import torch
from engine_twin import plain_completion, same

from puna.config.recipe import ModelConfig
from puna.infer.engine import Engine
from puna.infer.operator_runner import OperatorRunner
from puna.infer.requests import Request, Sampling
from puna.infer.runner import Piece, rows_of
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.plan.count import matmul_parameters

SHAPES: dict[str, dict[str, Any]] = {
    "grouped heads": {},
    "one head, tied": {"n_heads": 1, "n_kv_heads": 1, "tie_embeddings": True},
    "OpenLM's": {"norm": "layer", "qk_norm": True, "rotary": "head", "n_heads": 3, "n_kv_heads": 3, "head_dim": 22},
}


def model_of(**values: Any) -> Llama:
    config = ModelConfig(
        **{
            "dim": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 96, "vocab_size": 300, "context": 48,
            "init_std": 0.2, **values,
        }
    )  # fmt: skip
    model = Llama(config)
    init_weights(model, 0)
    return model


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("one_by_one", [True, False])
def test_rows_of_several_sequences_have_the_logits_of_a_whole_pass(name: str, one_by_one: bool) -> None:
    model = model_of(**SHAPES[name])
    runner = OperatorRunner(model, pages=12, page_size=4, one_by_one=one_by_one)
    torch.manual_seed(0)
    texts = torch.randint(300, (3, 14))
    tables = torch.tensor([[3, 7, 1, 11], [0, 2, 4, 5], [9, 8, 10, 6]], dtype=torch.int32)
    computed, checked = [0, 0, 0], 0
    for counts in ((5, 1, 0), (1, 6, 3), (1, 1, 1), (7, 0, 5), (0, 5, 1)):
        pieces = [
            Piece(slot, computed[slot], texts[slot, computed[slot] : computed[slot] + count].tolist(), range(count))
            for slot, count in enumerate(counts)
            if count
        ]
        found = iter(runner.logits(rows_of(pieces, tables)))
        for piece in pieces:
            with torch.no_grad():
                whole_TV = model(texts[piece.slot : piece.slot + 1])[0]
            for row in piece.wanted:
                torch.testing.assert_close(next(found), whole_TV[piece.start + row], atol=1e-4, rtol=1e-4)
                checked += 1
            computed[piece.slot] += len(piece.tokens)
    assert checked == 37


def test_only_wanted_rows_have_logits() -> None:
    runner = OperatorRunner(model_of(), pages=4, page_size=4)
    rows = rows_of([Piece(0, 0, [1, 2, 3], range(0)), Piece(1, 0, [1], range(1))], torch.tensor([[0], [1]]))
    assert runner.logits(rows).shape == (1, 300)
    nobody = rows_of([Piece(0, 3, [4], range(0))], torch.tensor([[0]]))
    assert runner.logits(nobody).shape == (0, 300)


def test_the_model_itself_computes_as_before() -> None:
    model = model_of()
    tokens = torch.tensor([[1, 2, 3]])
    before, names = model(tokens), list(model.state_dict())
    runner = OperatorRunner(model, pages=4)
    OperatorRunner(model, pages=4)
    rows = rows_of([Piece(0, 0, [1, 2, 3], range(2, 3))], torch.tensor([[0]]))
    with pytest.raises(AttributeError):
        runner.logits("not rows")  # type: ignore[arg-type]
    assert torch.equal(model(tokens), before)
    assert list(model.state_dict()) == names
    assert rows.wanted_W.tolist() == [2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_dtypes_give_float32_logits(dtype: torch.dtype) -> None:
    model = model_of().to(dtype)
    runner = OperatorRunner(model, pages=4)
    logits = runner.logits(rows_of([Piece(0, 0, [1, 2, 3], range(3))], torch.tensor([[0]])))
    assert logits.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(logits, model(torch.tensor([[1, 2, 3]]))[0].float(), atol=0.1, rtol=0.1)


def test_row_by_row_company_changes_no_bit() -> None:
    model = model_of()

    def engine(**settings: int) -> Engine:
        return Engine(OperatorRunner(model, pages=24, page_size=4, one_by_one=True), **settings)

    requests = [
        Request(
            prompt=tuple(range(n, 2 * n + 5)), max_tokens=10, logprobs=2, prompt_logprobs=0,
            sampling=Sampling(temperature=n % 2),
        )
        for n in range(6)
    ]  # fmt: skip
    together = engine(max_rows=7, max_requests=5).generate(requests)
    for request, found in zip(requests, together, strict=True):
        assert same(found, engine(max_rows=40, max_requests=1).generate([request])[0])


def test_greedy_text_is_that_of_whole_passes() -> None:
    model = model_of()
    runner = OperatorRunner(model, pages=24, page_size=4)
    requests = [
        Request(prompt=tuple(range(n, 2 * n + 5)), max_tokens=12, sampling=Sampling(temperature=0)) for n in range(6)
    ]

    @torch.no_grad()
    def whole(tokens: list[int]) -> torch.Tensor:
        return model(torch.tensor([tokens]))[0, -1]

    found = Engine(runner, max_rows=7, max_requests=5).generate(requests)
    assert [one.tokens for one in found] == [plain_completion(whole, ask, 0, 48).tokens for ask in requests]


def test_a_short_text_beside_a_long_one_reads_nothing_that_another_left() -> None:
    model = model_of()
    runner = OperatorRunner(model, pages=6, page_size=4)
    tables = torch.tensor([[3, 5, 5], [0, 1, 2]])  # the first text has one page
    runner.logits(rows_of([Piece(0, 0, [1, 2], range(0)), Piece(1, 0, list(range(9)), range(0))], tables))
    for block in model.blocks():
        block.attention.core.k_LKH[20:] = block.attention.core.v_LKH[20:] = torch.nan
    assert runner.logits(rows_of([Piece(0, 2, [3], range(1)), Piece(1, 9, [9], range(1))], tables)).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_of_a_step_are_those_of_its_matrices_and_of_its_positions(dtype: torch.dtype) -> None:
    for tied in (False, True):
        config = ModelConfig(
            dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=48, vocab_size=300, context=64, tie_embeddings=tied
        )
        runner = OperatorRunner(Llama(config).to(dtype), pages=2)
        assert runner.weight_bytes == matmul_parameters(config) * dtype.itemsize
        assert runner.position_bytes == 2 * config.n_layers * config.n_kv_heads * config.head_dim * dtype.itemsize


def test_pages_are_copied_before_anything_is_computed_and_all_are_read_before_any_is_written() -> None:
    runner = OperatorRunner(model_of(), pages=4, page_size=4)
    one, other = [5, 6, 7, 8], [9, 10, 11, 12]
    tables = torch.tensor([[0, 3], [1, 3]], dtype=torch.int32)
    runner.logits(rows_of([Piece(0, 0, one, range(0)), Piece(1, 0, other, range(0))], tables))
    tables = torch.tensor([[2, 3], [0, 1]], dtype=torch.int32)
    pieces = [Piece(0, 3, [20], range(1)), Piece(1, 3, [21], range(1))]
    found = runner.logits(rows_of(pieces, tables, [(0, 2), (1, 0)]))  # page 0 moves on and becomes page 1's copy
    for row, text in zip(found, ([*one[:3], 20], [*other[:3], 21]), strict=True):
        with torch.no_grad():
            expected = model_of()(torch.tensor([text]))[0, -1]
        torch.testing.assert_close(row, expected, atol=1e-4, rtol=1e-4)
