"""Adapters of our making: PEFT loads them with the same logits, and reading gives back what was written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from puna.core.errors import FormatError
from puna.formats.peft.read import read_adapter
from puna.formats.peft.write import write_adapter
from puna.ops.bits import same_bits

# PEFT asks transformers for a name that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


@pytest.mark.oracle
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("blocks", ["all", "the second"])
def test_peft_loads_it_with_the_same_logits(
    source: Callable[..., Any], decoder: Callable[..., Any], merge: Callable[..., Any], adapter: Callable[..., Any],
    huggingface: Callable[..., Any], tmp_path: Path, dora: bool, blocks: str,
) -> None:  # fmt: skip
    peft = pytest.importorskip("peft")
    base = source()
    ours = adapter(base, dora=dora)
    if blocks != "all":
        ours = replace(ours, updates={name: low for name, low in ours.updates.items() if name.startswith("layers.1.")})
    write_adapter(ours, tmp_path / "ours", layers=base.config.n_layers)
    theirs = peft.PeftModel.from_pretrained(huggingface(base), tmp_path / "ours").eval()
    tokens_BT = torch.randint(0, 512, (2, 24), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, found = decoder(merge(base, ours))(tokens_BT), theirs(tokens_BT).logits
        assert (decoder(base)(tokens_BT) - expected).abs().max() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
@pytest.mark.parametrize("tied", [False, True])
def test_peft_takes_over_the_parameters_that_were_trained_whole(
    source: Callable[..., Any], decoder: Callable[..., Any], merge: Callable[..., Any], adapter: Callable[..., Any],
    huggingface: Callable[..., Any], tmp_path: Path, tied: bool,
) -> None:  # fmt: skip
    peft = pytest.importorskip("peft")
    base = source(tie_embeddings=tied)
    names = ("tok_embeddings.weight", "output.weight")[: 1 if tied else 2]
    ends = {name: base.tensors[name] * 1.5 + 0.1 for name in names}
    ours = adapter(base, whole=ends)
    write_adapter(ours, tmp_path / "ours", tied=tied)
    theirs = peft.PeftModel.from_pretrained(huggingface(base), tmp_path / "ours").eval()
    tokens_BT = torch.arange(24)[None]
    with torch.no_grad():
        expected, found = decoder(merge(base, ours))(tokens_BT), theirs(tokens_BT).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layers", [None, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_reading_gives_back_what_was_written(
    source: Callable[..., Any], adapter: Callable[..., Any], tmp_path: Path, dtype: torch.dtype, layers: int | None
) -> None:
    ours = adapter(source(), dora=True, whole={"norm.weight": torch.ones(80)}, base="runs/demo", base_sha256="ab" * 32)
    updates = {
        name: replace(low, a_RI=low.a_RI.to(dtype), b_OR=low.b_OR.to(dtype)) for name, low in ours.updates.items()
    }
    ours = replace(ours, updates=updates)
    write_adapter(ours, tmp_path / "ours", layers=layers)
    again = read_adapter(tmp_path / "ours")
    assert (again.base, again.base_sha256) == ("runs/demo", "ab" * 32)
    assert again.updates.keys() == ours.updates.keys()
    for name, low in ours.updates.items():
        found = again.updates[name]
        assert same_bits(found.a_RI, low.a_RI)
        assert same_bits(found.b_OR, low.b_OR)
        assert found.scale == pytest.approx(low.scale, rel=1e-12)
        assert found.magnitude_O is not None
        assert low.magnitude_O is not None
        assert same_bits(found.magnitude_O, low.magnitude_O)
    assert same_bits(again.whole["norm.weight"], ours.whole["norm.weight"])


def test_a_file_that_was_changed_since_is_found(
    source: Callable[..., Any], adapter: Callable[..., Any], tmp_path: Path
) -> None:
    write_adapter(adapter(source()), tmp_path / "ours")
    with (tmp_path / "ours" / "adapter_model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x11")
    with pytest.raises(FormatError, match="is damaged, its SHA-256"):
        read_adapter(tmp_path / "ours")
