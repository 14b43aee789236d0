"""The checkpoint that open_lm loads: its keys and sizes as open_lm's own constructor makes them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from puna.core.errors import ExportError
from puna.formats.checkpoint import Hints
from puna.formats.openlm.read import is_openlm, open_openlm
from puna.formats.openlm.write import write_openlm
from puna.tokenizer.tokenizer import Tokenizer

OPENLM = {"n_kv_heads": 4, "ffn_dim": 256, "norm": "layer", "norm_eps": 1e-5}
KINDS: dict[str, dict[str, Any]] = {
    "LayerNorm": {},
    "turned by the head's number": {"rotary": "head", "rope_theta": 5e5},
    "normalised queries and keys": {"qk_norm": True},
    "RMSNorm": {"norm": "rms"},
    "tied": {"tie_embeddings": True},
    "heads narrower than the stream": {"dim": 84, "n_heads": 5, "n_kv_heads": 5, "head_dim": 16},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_what_is_written_is_read_bit_for_bit(
    changes: dict[str, Any], dtype: torch.dtype, source: Callable[..., Any], tmp_path: Path
) -> None:
    model = source(dtype=dtype, **OPENLM | changes)
    write_openlm(model, None, tmp_path)
    assert is_openlm(tmp_path)
    again = open_openlm(tmp_path, Hints(rope_theta=model.config.rope_theta))
    again.check_complete()
    assert again.config == model.config.model_copy(update={"init_std": 0.02})  # no part of the format
    assert (again.notes, again.tokenizer()) == ([], None)
    for name in model.weights:
        assert torch.equal(again.tensor(name), model.tensor(name))
        assert again.tensor(name).dtype == dtype


def test_keys_and_sizes_are_those_of_open_lms_transformer(source: Callable[..., Any], tmp_path: Path) -> None:
    model = source(n_layers=1, qk_norm=True, **OPENLM)
    write_openlm(model, None, tmp_path)
    whole = torch.load(tmp_path / "epoch_0.pt", weights_only=True)
    assert {key: value for key, value in whole.items() if key != "state_dict"} == {
        "epoch": 0, "name": "puna", "evaluation_metrics": [],
    }  # fmt: skip
    # The state dict of open_lm's Transformer for these settings, as it prints it.
    assert {name: tuple(tensor.shape) for name, tensor in whole["state_dict"].items()} == {
        "tok_embeddings.weight": (512, 80),
        "layers.0.attention.in_proj.weight": (240, 80),
        "layers.0.attention.out_proj.weight": (80, 80),
        "layers.0.attention.pos_embed.inv_freq": (10,),
        "layers.0.attention.q_norm.weight": (80,),
        "layers.0.attention.k_norm.weight": (80,),
        "layers.0.feed_forward.w12.weight": (512, 80),
        "layers.0.feed_forward.w3.weight": (80, 256),
        "layers.0.attention_norm.weight": (80,),
        "layers.0.ffn_norm.weight": (80,),
        "norm.weight": (80,),
        "output.weight": (512, 80),
    }
    frequencies = whole["state_dict"]["layers.0.attention.pos_embed.inv_freq"]
    torch.testing.assert_close(frequencies, torch.tensor([10000 ** (-i / 10) for i in range(10)]))
    assert json.loads((tmp_path / "open_lm.json").read_text()) == {
        "hidden_dim": 80, "n_layers": 1, "n_heads": 4, "seq_len": 64, "vocab_size": 512, "post_embed_norm": False,
        "weight_tying": False, "model_norm": "gain_only_layer_norm", "qk_norm": True,
        "positional_embedding_type": "rotary", "ffn_type": "swiglu_torch",
    }  # fmt: skip


def test_a_tied_output_layer_shares_the_embeddings_bytes(source: Callable[..., Any], tmp_path: Path) -> None:
    write_openlm(source(**OPENLM, tie_embeddings=True), None, tmp_path)
    state = torch.load(tmp_path / "epoch_0.pt", weights_only=True)["state_dict"]
    assert state["output.weight"].data_ptr() == state["tok_embeddings.weight"].data_ptr()


def test_the_tokenizer_comes_back(source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_openlm(source(**OPENLM), tokenizer, tmp_path)
    again = open_openlm(tmp_path, Hints()).tokenizer()
    assert again is not None
    assert again.content == tokenizer.content


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_kv_heads": 2}, "n_kv_heads = 2 for n_heads = 4, which open_lm cannot"),
        ({"head_dim": 24}, r"head_dim = 24 \(it has 20\), which open_lm cannot"),
        ({"ffn_dim": 96}, r"ffn_dim = 96 \(it has 256\)"),
        ({"norm_eps": 1e-6}, r"norm_eps = 1e-06 \(it has 1e-05\)"),
        ({"rope_theta": 5e5}, r"rope_theta = 500000.0 \(it has 10000.0\)"),
        ({"rope_scaling": {"kind": "linear", "factor": 2.0}}, "rope_scaling.kind = 'linear', which open_lm cannot"),
    ],
)
def test_what_open_lm_has_no_setting_for_is_refused(
    changes: dict[str, Any], said: str, source: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=said):
        write_openlm(source(**OPENLM | changes), None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_parts_of_several_dtypes_cannot_be_joined(source: Callable[..., Any], tmp_path: Path) -> None:
    mixed = source(**OPENLM)
    for name in ("norm.weight", "layers.0.attention.wk.weight"):
        mixed.tensors[name] = mixed.tensors[name].bfloat16()
    with pytest.raises(ExportError, match=r"joins layers.0.attention.in_proj.weight, .* \(bfloat16, float32\)"):
        write_openlm(type(mixed)(mixed.config, mixed.tensors), None, tmp_path)
    mixed.tensors["layers.0.attention.wk.weight"] = mixed.tensors["layers.0.attention.wk.weight"].float()
    write_openlm(type(mixed)(mixed.config, mixed.tensors), None, tmp_path)
    dtypes = {name: stored.dtype for name, stored in open_openlm(tmp_path, Hints()).stored.items()}
    assert [name for name, dtype in dtypes.items() if dtype != "float32"] == ["norm.weight"]
