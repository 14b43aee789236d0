"""Adapters become whole models: imported, and in GGUF and the original format, with every row in its place."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from torch import Tensor

from puna.config.model import ModelConfig
from puna.core.errors import CheckpointError, FormatError
from puna.formats.checkpoint import Hints, Stored
from puna.formats.export_model import Options, export_model
from puna.formats.import_model import import_model
from puna.formats.merged import MergedCheckpoint, open_merged
from puna.formats.native.read import open_native
from puna.formats.native.write import write_native
from puna.formats.peft.write import write_adapter
from puna.formats.proof.equivalence import Text
from puna.formats.table import weights
from puna.model.adapter import Adapter, LowRank
from puna.ops.bits import same_bits
from puna.tokenizer.tokenizer import Tokenizer

UPDATE = LowRank(a_RI=torch.randn(2, 80), b_OR=torch.randn(80, 2), scale=0.5)
ONE = Adapter(updates={"layers.0.attention.wq": UPDATE})


def test_weights_that_it_changes_are_merged_and_others_are_the_bases(
    source: Callable[..., Any], tmp_path: Path
) -> None:
    base, name = source(dtype=torch.bfloat16), "layers.0.attention.wq.weight"
    found = MergedCheckpoint(base, ONE, tmp_path)
    assert same_bits(found.tensor(name), UPDATE.merged(base.tensor(name)))
    assert found.stored[name] == Stored("float32", 80 * 80 * 4)
    assert same_bits(found.tensor("layers.0.attention.wk.weight"), base.tensor("layers.0.attention.wk.weight"))
    assert found.stored["layers.0.attention.wk.weight"].dtype == "bfloat16"
    found.check_complete()


def test_a_quantized_base_is_refused(source: Callable[..., Any], tmp_path: Path) -> None:
    base = source()
    base.stored = dict(base.stored) | {"layers.0.attention.wq.weight": Stored("Q4_0", 3600)}
    with pytest.raises(FormatError, match="is Q4_0; an adapter is not merged into a quantized model"):
        MergedCheckpoint(base, ONE, tmp_path)


def test_a_base_that_lacks_weights_is_refused(source: Callable[..., Any], tmp_path: Path) -> None:
    base = source()
    base.stored = {name: stored for name, stored in base.stored.items() if "attention.w" not in name}
    with pytest.raises(FormatError, match=r"lacks 8 tensors, the first is layers\.0\.attention\.wq\.weight"):
        MergedCheckpoint(base, ONE, tmp_path)


def test_another_decoder_is_refused(source: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is of another model"):
        MergedCheckpoint(source(dim=96), ONE, tmp_path)


@pytest.fixture
def adapted(source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path) -> tuple[Path, Adapter, Any]:
    """An adapter's directory, the adapter, and the base that it names."""
    base = source()
    (tmp_path / "base").mkdir()
    write_native(base, tokenizer, tmp_path / "base", inputs={}, results={})
    generator = torch.Generator().manual_seed(3)
    updates = {
        weight.name.removesuffix(".weight"): LowRank(
            a_RI=torch.randn(4, weight.shape[1], generator=generator) * 0.1,
            b_OR=torch.randn(weight.shape[0], 4, generator=generator) * 0.1,
            scale=2.0,
        )
        for weight in weights(base.config)
        if weight.is_matrix and weight.name.startswith("layers.")
    }
    adapter = Adapter(updates=updates, base=str(tmp_path / "base"))
    write_adapter(adapter, tmp_path / "adapter")
    return tmp_path / "adapter", adapter, base


def test_an_imported_adapter_is_the_merged_model(
    adapted: tuple[Path, Adapter, Any], decoder: Callable[..., Any], tmp_path: Path
) -> None:
    path, adapter, base = adapted
    import_model(path, tmp_path / "merged", Hints())
    found = open_native(tmp_path / "merged", Hints())
    for weight in weights(base.config):
        update = adapter.updates.get(weight.name.removesuffix(".weight"))
        expected = base.tensor(weight.name) if update is None else update.merged(base.tensor(weight.name))
        assert same_bits(found.tensor(weight.name), expected), weight.name
    tokens_BT = torch.arange(24)[None]
    plain = decoder(base)(tokens_BT)
    assert (decoder(found)(tokens_BT) - plain).abs().max() > 0.01


def neighbours(weight_OI: Tensor, heads: int) -> Tensor:
    """The rows of wq or wk as formats have them that pair neighbours, row by row."""
    rows, width = [], weight_OI.shape[0] // heads
    for head in range(heads):
        for pair in range(width // 2):
            rows += [weight_OI[head * width + pair], weight_OI[head * width + pair + width // 2]]
    return torch.stack(rows)


@pytest.mark.oracle
def test_rows_of_wq_and_wk_follow_the_rotary_permutation_into_gguf_and_the_original(
    adapted: tuple[Path, Adapter, Any], tmp_path: Path
) -> None:
    path, adapter, base = adapted
    config: ModelConfig = base.config
    # llama.cpp runs the first one, and must agree.
    export_model(path, "gguf", tmp_path / "gguf", Text("Some text to run.", "the test"), Options())
    export_model(path, "llama", tmp_path / "llama", Text("x", "x"), Options(run=False))
    in_gguf = {t.name: torch.tensor(t.data) for t in gguf.GGUFReader(next((tmp_path / "gguf").glob("*.gguf"))).tensors}
    original = torch.load(tmp_path / "llama" / "consolidated.00.pth", weights_only=True)
    for layer in range(config.n_layers):
        for ours, theirs, heads in (("wq", "attn_q", config.n_heads), ("wk", "attn_k", config.n_kv_heads)):
            name = f"layers.{layer}.attention.{ours}"
            merged = adapter.updates[name].merged(base.tensor(f"{name}.weight"))
            expected = neighbours(merged, heads)
            assert not torch.equal(expected, merged)
            assert torch.equal(in_gguf[f"blk.{layer}.{theirs}.weight"], expected)
            assert torch.equal(original[f"{name}.weight"], expected)


def test_a_base_that_is_not_known_or_not_there_is_asked_for(adapted: tuple[Path, Adapter, Any], tmp_path: Path) -> None:
    path, adapter, base = adapted
    write_adapter(replace(adapter, base=""), tmp_path / "nameless")
    with pytest.raises(FormatError, match="does not say which model it was trained on"):
        open_merged(tmp_path / "nameless", None, Hints())
    assert open_merged(tmp_path / "nameless", tmp_path / "base", Hints()).config == base.config
    write_adapter(replace(adapter, base="someone/model"), tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="was trained on 'someone/model', which is not there"):
        open_merged(tmp_path / "elsewhere", None, Hints())
    with pytest.raises(FormatError, match="is not an adapter, so it has no base"):
        import_model(tmp_path / "base", tmp_path / "out", Hints(), base=path)
