"""From weights to a runner: what it computes equals the decoder, whatever the weights are stored and kept as."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from memory import MemoryCheckpoint

from puna.config.recipe import ModelConfig
from puna.core.errors import GenerateError
from puna.formats.table import weights as table
from puna.infer import load
from puna.infer.kernel_runner import KernelRunner
from puna.infer.load import CACHE_BYTES, cache_positions, check_device, decoder, make_runner
from puna.infer.operator_runner import OperatorRunner
from puna.infer.runner import Rows, Runner
from puna.model.llama import Llama
from puna.ops.cpu.builder import BuildError
from puna.ops.quantized import Blocks, WeightKind, dequantize, quantize

CPU = torch.device("cpu")


def source(dtype: torch.dtype = torch.float32, **shape: Any) -> MemoryCheckpoint:
    config = ModelConfig(
        **{"dim": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 96, "vocab_size": 300, "context": 40}
        | shape
    )
    generator = torch.Generator().manual_seed(0)
    return MemoryCheckpoint(
        config,
        {
            weight.name: (torch.randn(weight.shape, generator=generator) * 0.2 + (not weight.is_matrix)).to(dtype)
            for weight in table(config)
        },
    )


class Quantized(MemoryCheckpoint):
    """A checkpoint whose matrices are blocks of one kind, as of a GGUF file."""

    kind = WeightKind.INT8

    def blocks(self, name: str) -> Blocks | None:
        tensor = self.tensors[name]
        return quantize(tensor, self.kind) if tensor.ndim == 2 else None

    def tensor(self, name: str) -> torch.Tensor:
        blocks = self.blocks(name)
        return self.tensors[name] if blocks is None else dequantize(blocks)


def rounded(weight: torch.Tensor, kind: WeightKind) -> torch.Tensor:
    """What the integers of a matrix stand for; the output layer, which has 300 rows, has 8 bits at least."""
    return dequantize(quantize(weight, WeightKind.INT8 if len(weight) == 300 else kind))


def text_rows(length: int) -> Rows:
    return Rows(
        tokens_M=torch.arange(length) * 7 % 300, positions_M=torch.arange(length, dtype=torch.int32),
        sequences_M=torch.zeros(length, dtype=torch.int32), tables_SP=torch.tensor([[2, 0, 1]], dtype=torch.int32),
        wanted_W=torch.arange(length),
    )  # fmt: skip


def logits(checkpoint: MemoryCheckpoint, kind: WeightKind | None = None) -> torch.Tensor:
    return make_runner(
        checkpoint, lambda: decoder(checkpoint, device=CPU, weights=kind), device=CPU, weights=kind
    ).logits(text_rows(33))


def expected(checkpoint: MemoryCheckpoint, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The logits of the decoder in float32, after each matrix of a product was changed."""
    product = {name for name, weight in checkpoint.weights.items() if weight.is_matrix} - {"tok_embeddings.weight"}
    tensors = {name: change(w.float()) if name in product else w.float() for name, w in checkpoint.tensors.items()}
    plain = decoder(MemoryCheckpoint(checkpoint.config, tensors), device=CPU)
    with torch.no_grad():
        return plain(text_rows(33).tokens_M[None])[0]


@pytest.mark.parametrize("shape", [{}, {"tie_embeddings": True}, {"norm": "layer"}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_logits_are_those_of_the_stored_weights(shape: dict[str, Any], dtype: torch.dtype) -> None:
    checkpoint = source(dtype, **shape)
    torch.testing.assert_close(logits(checkpoint), expected(checkpoint, lambda w: w), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [WeightKind.INT8, WeightKind.INT4])
def test_quantized_logits_are_near_those_of_what_the_integers_stand_for(kind: WeightKind) -> None:
    checkpoint = source()
    near = expected(checkpoint, lambda w: rounded(w, kind))
    assert (logits(checkpoint, kind) - near).norm() < 0.05 * near.norm()


def test_device_that_this_machine_lacks_is_a_sentence() -> None:
    assert check_device("cpu") == CPU
    with pytest.raises(GenerateError, match="device 'gpu'"):
        check_device("gpu")
    with pytest.raises(GenerateError, match="device 'meta': holds no numbers"):
        check_device("meta")


def test_kernels_compute_what_they_can_and_a_sentence_says_why_they_do_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def runner(checkpoint: MemoryCheckpoint) -> Runner:
        return make_runner(checkpoint, lambda: decoder(checkpoint, device=CPU), device=CPU)

    assert isinstance(runner(source()), KernelRunner)
    assert capsys.readouterr().err == ""
    layer = source(norm="layer")
    make_runner(layer, lambda: decoder(layer, device=CPU), device=CPU, cache=torch.float16)
    assert "the cache has the dtype of the model here" in capsys.readouterr().err
    assert isinstance(runner(layer), OperatorRunner)
    said = capsys.readouterr().err
    assert "PyTorch's operators answer, slower than Puna's kernels, and a request's text may depend on those" in said
    assert "beside it: its norm" in said

    def broken(*arguments: Any, **options: Any) -> KernelRunner:
        raise BuildError("no C++ compiler was found")

    monkeypatch.setattr(load, "KernelRunner", broken)
    assert isinstance(runner(source()), OperatorRunner)
    assert "those beside it: no C++ compiler was found" in capsys.readouterr().err
    checkpoint = source()
    near = expected(checkpoint, lambda w: rounded(w, WeightKind.INT4))
    torch.testing.assert_close(logits(checkpoint, WeightKind.INT4), near, atol=1e-4, rtol=1e-4)
    assert "and integers are kept as floats" in capsys.readouterr().err


def test_cache_holds_the_context_and_no_more_than_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = source()
    position = 2 * 2 * 2 * 16 * 4
    assert cache_positions(checkpoint, 4) == 64 * 48
    monkeypatch.setattr(load, "CACHE_BYTES", 100 * position)
    assert cache_positions(checkpoint, 4) == 96
    assert cache_positions(checkpoint, 2) == 192
    monkeypatch.setattr(load, "CACHE_BYTES", position)
    assert cache_positions(checkpoint, 4) == 48
    assert CACHE_BYTES == 2**31


@pytest.mark.parametrize("shape", [{}, {"norm": "layer"}], ids=["kernels", "operators"])
@pytest.mark.parametrize("weights", [None, *WeightKind])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cache_of_any_runner_has_the_bytes_that_it_may_have(
    monkeypatch: pytest.MonkeyPatch, shape: dict[str, Any], weights: WeightKind | None, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(load, "CACHE_BYTES", 2**16)
    checkpoint = source(dtype, **shape)

    def modules() -> Llama:
        return decoder(checkpoint, device=CPU, weights=weights)

    runner = make_runner(checkpoint, modules, device=CPU, weights=weights)
    assert runner.pages * runner.page_size * runner.position_bytes == 2**16


def test_decoder_keeps_the_stored_dtype_where_it_holds_everything() -> None:
    narrow = source(torch.bfloat16)
    assert decoder(narrow, device=CPU).output.weight.dtype == torch.bfloat16
    narrow.tensors["norm.weight"] = narrow.tensors["norm.weight"].float()
    assert decoder(narrow, device=CPU).norm.weight.dtype == torch.bfloat16
    narrow.tensors["norm.weight"][0] = 1 + 2**-20
    assert decoder(narrow, device=CPU).output.weight.dtype == torch.float32
    assert decoder(narrow, device=CPU, weights=WeightKind.BFLOAT16).output.weight.dtype == torch.bfloat16
    assert decoder(source(torch.float16), device=CPU).output.weight.dtype == torch.float32


def test_decoder_takes_weights_of_its_dtype_without_a_copy() -> None:
    checkpoint = source(tie_embeddings=True)
    model = decoder(checkpoint, device=CPU)
    assert model.output.weight is model.tok_embeddings.weight
    for name, parameter in model.named_parameters():
        assert parameter.data_ptr() == checkpoint.tensors[name].data_ptr(), name


@pytest.mark.parametrize(
    ("stored", "kind", "again"),
    [
        (WeightKind.INT8, WeightKind.INT8, False), (WeightKind.INT4, WeightKind.INT8, False),
        (WeightKind.INT4, WeightKind.INT4, False), (WeightKind.INT8, WeightKind.INT4, True),
    ],
)  # fmt: skip
def test_integers_are_not_rounded_twice(stored: WeightKind, kind: WeightKind, again: bool) -> None:
    checkpoint = Quantized(source().config, source().tensors)
    checkpoint.kind = stored
    name = "layers.0.feed_forward.w1.weight"
    weight = checkpoint.tensor(name)
    found = decoder(checkpoint, device=CPU, weights=kind).state_dict()[name]
    assert torch.equal(found, dequantize(quantize(weight, kind)) if again else weight)


def test_matrix_that_cannot_be_quantized_is_named() -> None:
    checkpoint = source()
    checkpoint.tensors["layers.1.attention.wo.weight"][0, 0] = float("inf")
    with pytest.raises(GenerateError, match=r"layers\.1\.attention\.wo\.weight: holds a weight that is not a finite"):
        logits(checkpoint, WeightKind.INT8)
