"""What an adapter trained whole takes the place of a model's parameters, and what does not fit is a sentence."""

from pathlib import Path
from typing import Any

import pytest
import torch
from memory import MemoryCheckpoint
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import FormatError
from puna.formats.adapted import AdaptedCheckpoint
from puna.formats.checkpoint import Stored
from puna.formats.table import weights
from puna.model.adapter import Adapter
from puna.ops.quantized import Blocks, WeightKind, quantize


class Quantized(MemoryCheckpoint):
    """A checkpoint whose matrices are blocks, as of a GGUF file."""

    def blocks(self, name: str) -> Blocks | None:
        tensor = self.tensors[name]
        return quantize(tensor, WeightKind.INT8) if tensor.ndim == 2 else None


def source(**shape: Any) -> Quantized:
    values = {"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "ffn_dim": 64, "vocab_size": 300, "context": 16}
    config = ModelConfig.model_validate(values | shape)
    return Quantized(config, {weight.name: torch.ones(weight.shape) for weight in weights(config)})


def adapted(checkpoint: MemoryCheckpoint, **whole: Tensor) -> AdaptedCheckpoint:
    adapter = Adapter(updates={}, whole={f"{name}.weight": tensor for name, tensor in whole.items()})
    return AdaptedCheckpoint(checkpoint, adapter, Path("runs/a/adapter"))


def test_whole_parameters_are_the_adapters_and_all_others_the_models() -> None:
    embedding, output = torch.full((303, 32), 2.0), torch.full((303, 32), 3.0, dtype=torch.bfloat16)
    found = adapted(source(), tok_embeddings=embedding, output=output)
    assert found.config.vocab_size == 303
    assert found.tensor("tok_embeddings.weight") is embedding
    assert found.tensor("output.weight") is output
    assert found.blocks("output.weight") is None
    assert found.stored["output.weight"] == Stored("bfloat16", 303 * 32 * 2)
    assert found.blocks("layers.0.attention.wq.weight") is not None
    assert found.tensor("norm.weight").tolist() == [1.0] * 32
    found.check_complete()
    assert found.weights["output.weight"].shape == (303, 32)


def test_an_output_layer_of_its_own_is_not_tied_any_more() -> None:
    tied = source(tie_embeddings=True)
    assert adapted(tied, output=torch.zeros(300, 32)).config.tie_embeddings is False
    grown = adapted(tied, tok_embeddings=torch.zeros(310, 32))
    assert (grown.config.tie_embeddings, grown.config.vocab_size) == (True, 310)
    grown.check_complete()


def test_an_output_layer_that_is_the_embedding_is_tied_still() -> None:
    rows = torch.rand(310, 32)
    found = adapted(source(tie_embeddings=True), tok_embeddings=rows, output=rows.clone())
    assert (found.config.tie_embeddings, found.config.vocab_size) == (True, 310)
    found.check_complete()
    assert adapted(source(), tok_embeddings=rows, output=rows.clone()).config.tie_embeddings is False


@pytest.mark.parametrize(
    ("whole", "says"),
    [
        ({"tok_embeddings": torch.zeros(303, 32)}, r"output.weight is \[300, 32\], but the model needs \[303, 32\]"),
        ({"norm": torch.zeros(31)}, r"adapter: with it norm.weight is \[31\], but the model needs \[32\]"),
        ({"layers.3.attention_norm": torch.zeros(32)}, r"has layers.3.attention_norm.weight, which the model does not"),
    ],
)
def test_what_does_not_fit_is_a_sentence(whole: dict[str, Tensor], says: str) -> None:
    with pytest.raises(FormatError, match=says):
        adapted(source(), **whole)
