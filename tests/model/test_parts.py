"""Which part of a parameter a device holds, compared with PyTorch's own split of the whole."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from devices import device_of, split_over
from torch import nn
from torch.distributed.tensor import DTensor

from puna.config.recipe import ModelConfig
from puna.model.files import fill, save_model
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.model.parts import own_parts
from puna.model.weights import open_weights

SHAPE = {"dim": 32, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 48, "vocab_size": 502, "context": 16}


def build(**changes: object) -> Llama:
    model = Llama(ModelConfig.model_validate(SHAPE | changes))
    init_weights(model, 0)
    return model


def test_a_device_that_is_alone_holds_the_whole_of_everything() -> None:
    model = build()
    for part, (name, parameter) in zip(own_parts(model), model.named_parameters(), strict=True):
        assert (part.name, part.shape) == (name, tuple(parameter.shape))
        assert part.offset == (0,) * parameter.ndim
        assert part.tensor.data_ptr() == parameter.data_ptr()


def test_names_are_those_of_a_model_that_nothing_wraps() -> None:
    model = build()
    names = [name for name, _ in model.named_parameters()]
    model.layers[0] = nn.ModuleDict({"_checkpoint_wrapped_module": nn.ModuleDict({"_orig_mod": model.layers[0]})})
    assert [part.name for part in own_parts(model)] == names


@pytest.mark.parametrize("sizes", [(3,), (2, 2)])
@pytest.mark.parametrize("tied", [False, True])
def test_each_device_holds_and_reads_its_part_of_the_whole(tmp_path: Path, sizes: tuple[int, ...], tied: bool) -> None:
    whole = build(tie_embeddings=tied)
    save_model(whole, tmp_path / "model", tokenizer=None, inputs={})
    for rank in range(math.prod(sizes)):
        with device_of(rank, sizes) as mesh:
            model = build(tie_embeddings=tied)
            split_over(model, mesh)
            expected = [
                parameter.to_local().clone() for parameter in model.parameters() if isinstance(parameter, DTensor)
            ]
            for part, own in zip(own_parts(model), expected, strict=True):
                region = tuple(slice(start, start + size) for start, size in zip(part.offset, own.shape, strict=True))
                assert torch.equal(whole.get_parameter(part.name)[region], own), (part.name, rank)
                part.tensor.detach().fill_(math.nan)
            assert sum(own.numel() for own in expected) < 0.6 * sum(x.numel() for x in whole.parameters())
            with open_weights(tmp_path / "model") as stored:
                fill(model, stored)
            for part, own in zip(own_parts(model), expected, strict=True):
                assert torch.equal(part.tensor, own), (part.name, rank)


def test_a_model_is_read_without_torchs_distributed_tensors_and_without_its_compiler(tmp_path: Path) -> None:
    save_model(build(), tmp_path / "model", tokenizer=None, inputs={})
    code = (
        "import sys; from pathlib import Path; from puna.model.files import load_model; load_model(Path(sys.argv[1]));"
        "print({'torch', 'torch._dynamo', 'torch.distributed.tensor'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "{'torch'}\n"
