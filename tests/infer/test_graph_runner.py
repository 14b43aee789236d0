"""Steps that are filled up to a few shapes give what steps of their own shapes give."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.config.recipe import ModelConfig
from puna.infer import graph_runner
from puna.infer.engine import Engine
from puna.infer.graph_runner import GraphRunner
from puna.infer.operator_runner import OperatorRunner
from puna.infer.requests import Request, Sampling
from puna.infer.runner import Piece, rows_of
from puna.model.init import init_weights
from puna.model.llama import Llama

CONFIG = ModelConfig(dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=48, vocab_size=300, context=64, init_std=0.2)


def model() -> Llama:
    found = Llama(CONFIG)
    init_weights(found, 0)
    return found


def requests(lengths: list[int]) -> list[Request]:
    greedy = Sampling(temperature=0.0)
    return [
        Request(prompt=(1, *range(3, 3 + length)), max_tokens=4 + length % 5, sampling=greedy, logprobs=0)
        for length in lengths
    ]


@settings(max_examples=15)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_filled_up_steps_write_what_plain_steps_write(lengths: list[int]) -> None:
    plain = Engine(OperatorRunner(model(), pages=40)).generate(requests(lengths))
    filled = Engine(GraphRunner(model(), pages=40, compiler=lambda function: function)).generate(requests(lengths))
    for one, other in zip(plain, filled, strict=True):
        assert [token.id for token in one.tokens] == [token.id for token in other.tokens]
        assert [token.logprob for token in one.tokens] == pytest.approx([t.logprob for t in other.tokens], abs=1e-4)


def test_filled_up_steps_read_nothing_that_another_left() -> None:
    llama = model()
    runner = GraphRunner(llama, pages=6, compiler=lambda function: function)
    tables = torch.tensor([[3], [2]])
    runner.logits(rows_of([Piece(0, 0, [1, 2], range(0)), Piece(1, 0, [1, 2, 3], range(0))], tables))
    for block in llama.blocks():
        block.attention.core.k_LKH[:16] = block.attention.core.v_LKH[:16] = torch.nan  # the first page
    assert runner.logits(rows_of([Piece(0, 2, [3], range(1)), Piece(1, 3, [9], range(1))], tables)).isfinite().all()


def test_a_step_is_one_graph_for_each_shape() -> None:
    shapes = []

    def compiler(function):
        def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]):
            shapes.append(len(inputs))
            return graph.forward

        return torch.compile(function, backend=backend, fullgraph=True, dynamic=False)

    runner = GraphRunner(model(), pages=40, compiler=compiler)
    plain = Engine(OperatorRunner(model(), pages=40)).generate(requests([5, 9, 30, 2]))
    filled = Engine(runner).generate(requests([5, 9, 30, 2]))
    assert [c.tokens[0].id for c in plain] == [c.tokens[0].id for c in filled]
    assert len(shapes) <= 3  # four rows, two rows, one row, and 256 keys each
    torch.compiler.reset()


def test_a_compiler_that_fails_is_said_once_and_costs_speed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    def compiler(function):
        def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]):
            raise RuntimeError("no C compiler was found")

        return torch.compile(function, backend=backend, fullgraph=True, dynamic=False)

    runner = GraphRunner(model(), pages=40, compiler=compiler)
    found = Engine(runner).generate(requests([5, 9]))
    plain = Engine(OperatorRunner(model(), pages=40)).generate(requests([5, 9]))
    assert [one.tokens for one in found] == [other.tokens for other in plain]
    said = capsys.readouterr().err
    assert said.count("PyTorch could not compile a step for cpu, so all are slower: ") == 1
    assert "no C compiler was found" in said
    assert runner.title == OperatorRunner(model(), pages=40).title
    torch.compiler.reset()


def test_there_may_be_more_shapes_than_pytorch_compiles_of_its_own_accord(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_runner, "_FEWEST_KEYS", 1)
    shapes = set()

    def compiler(function):
        def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]):
            shapes.add(graph)
            return graph.forward

        return torch.compile(function, backend=backend, fullgraph=True, dynamic=False)

    small = Llama(CONFIG.model_copy(update={"n_layers": 1}))
    init_weights(small, 0)
    runner = GraphRunner(small, pages=12, compiler=compiler)
    tables = torch.arange(12).view(3, 4)
    runner.logits(rows_of([Piece(slot, 0, [1, 2], range(0)) for slot in range(3)], tables))
    for position in (0, 1, 3, 7, 15, 31):
        for rows in (1, 2):
            runner.logits(rows_of([Piece(slot, position, [3], range(1)) for slot in range(rows)], tables))
    assert len(shapes) == 12 > torch._dynamo.config.recompile_limit
    torch.compiler.reset()
