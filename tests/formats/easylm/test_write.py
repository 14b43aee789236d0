"""What is written, against flax and msgpack used as EasyLM uses them, and read back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import ExportError
from puna.formats.checkpoint import Checkpoint, Hints, Stored
from puna.formats.containers import flax_msgpack
from puna.formats.easylm.read import open_easylm
from puna.formats.easylm.write import Form, write_easylm
from puna.formats.table import weights
from puna.tokenizer.tokenizer import Tokenizer

FILES: dict[Form, str] = {
    "params": "streaming_params", "train_state": "streaming_train_state", "flax_params": "flax_params",
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "full heads": {"n_kv_heads": 4},
    "grouped heads": {"n_kv_heads": 2, "norm_eps": 1e-5, "n_layers": 11},
    "tied": {"n_kv_heads": 1, "tie_embeddings": True},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FILES)
def test_what_is_written_is_read_back_bit_for_bit_without_hints(
    form: Form, kind: str, dtype: torch.dtype, source: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    original = source(dtype=dtype, **KINDS[kind])
    write_easylm(original, None, tmp_path, form=form)
    found = open_easylm(tmp_path, Hints())
    found.check_complete()
    assert found.config == original.config
    for name in original.weights:
        a, b = original.tensor(name), found.tensor(name)
        assert a.dtype == b.dtype
        assert torch.equal(a, b), name
    assert found.tokenizer() is None
    assert len(found.notes) == (form == "train_state")


def tree_of(source: Checkpoint) -> dict[str, Any]:
    """EasyLM's parameter tree as a training run has it: JAX arrays, names sorted by JAX."""
    import jax
    import jax.numpy as jnp

    config = source.config

    def array(name: str) -> Any:
        w = source.tensor(f"{name}.weight")
        return jnp.asarray(w.float().numpy(), dtype=str(w.dtype).removeprefix("torch."))

    def kernel(name: str, heads: int = 0) -> dict[str, Any]:
        w = array(name)
        if heads:
            w = w.reshape(heads, 2, -1, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
        return {"kernel": w.T}

    def block(at: str) -> dict[str, Any]:
        heads = {"wq": config.n_heads, "wk": config.n_kv_heads, "wv": 0, "wo": 0}
        return {
            "attention": {name: kernel(f"{at}.attention.{name}", number) for name, number in heads.items()},
            "feed_forward": {name: kernel(f"{at}.feed_forward.{name}") for name in ("w1", "w2", "w3")},
            "attention_norm": kernel(f"{at}.attention_norm"),
            "ffn_norm": kernel(f"{at}.ffn_norm"),
        }

    tree = {
        "transformer": {
            "wte": {"embedding": array("tok_embeddings")},
            "ln_f": kernel("norm"),
            "h": {str(i): block(f"layers.{i}") for i in range(config.n_layers)},
        },
        "lm_head": kernel("tok_embeddings" if config.tie_embeddings else "output"),
    }
    return jax.tree_util.tree_map(lambda x: x, tree)


def easylm_bytes(tree: dict[str, Any], form: Form) -> bytes:
    """A tree as EasyLM and its converter to flax's form write it."""
    import flax.serialization
    import jax
    import msgpack
    import numpy as np
    from flax.traverse_util import flatten_dict

    if form == "flax_params":
        return flax.serialization.msgpack_serialize(tree, in_place=True)
    state = {"params": {"params": tree}} if form == "train_state" else tree
    packer = msgpack.Packer()
    return b"".join(
        packer.pack((key, flax.serialization.to_bytes(np.asarray(jax.device_get(value)))))
        for key, value in flatten_dict(flax.serialization.to_state_dict(state)).items()
    )


@pytest.mark.oracle
@pytest.mark.parametrize("limit", [None, 5000], ids=["whole", "cut"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FILES)
def test_every_byte_is_what_flax_and_msgpack_write(
    form: Form, kind: str, limit: int | None, source: Callable[..., Checkpoint], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import flax.serialization

    if limit:
        monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", limit)
        monkeypatch.setattr(flax_msgpack, "MAX_CHUNK_BYTES", limit)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        original = source(dtype=dtype, **KINDS[kind])
        out = tmp_path / str(dtype)
        out.mkdir()
        write_easylm(original, None, out, form=form)
        assert (out / FILES[form]).read_bytes() == easylm_bytes(tree_of(original), form)


@pytest.mark.oracle
def test_flax_restores_the_weights_as_easylm_does(source: Callable[..., Checkpoint], tmp_path: Path) -> None:
    import flax.serialization
    import msgpack
    import numpy as np

    original = source(dtype=torch.bfloat16, **KINDS["grouped heads"])
    write_easylm(original, None, tmp_path)
    with (tmp_path / "streaming_params").open("rb") as file:
        unpacker = msgpack.Unpacker(file, read_size=83886080, max_buffer_size=0)
        restored = {"/".join(key): flax.serialization.from_bytes(None, value) for key, value in unpacker}
    assert len(restored) == len(original.weights)
    w = original.tensor("layers.10.feed_forward.w2.weight").float().numpy()
    np.testing.assert_array_equal(restored["transformer/h/10/feed_forward/w2/kernel"].astype(np.float32), w.T)
    rows = original.tensor("layers.3.attention.wk.weight").float().numpy()
    kernel = restored["transformer/h/3/attention/wk/kernel"].astype(np.float32)
    # Pair 3 of head 1, whose width is 20: rows 3 and 13 of the head's halves are columns 6 and 7 here.
    np.testing.assert_array_equal(kernel[:, [20 + 6, 20 + 7]].T, rows[[20 + 3, 20 + 13]])


def test_mixed_dtypes_are_kept(source: Callable[..., Any], tmp_path: Path) -> None:
    original = source(dtype=torch.bfloat16)
    wide = {name: tensor.float() if tensor.ndim == 1 else tensor for name, tensor in original.tensors.items()}
    mixed = type(original)(original.config, wide)
    write_easylm(mixed, None, tmp_path)
    found = open_easylm(tmp_path, Hints())
    assert {name: stored.dtype for name, stored in found.stored.items()} == {
        name: "float32" if tensor.ndim == 1 else "bfloat16" for name, tensor in wide.items()
    }


@pytest.mark.parametrize(("shape", "says"), [
    ({"rope_theta": 5e5}, "rope_theta = 500000.0, which EasyLM cannot express"),
    ({"head_dim": 24}, "head_dim = 24"), ({"norm": "layer"}, "norm = 'layer'"), ({"qk_norm": True}, "qk_norm"),
    ({"rope_scaling": {"kind": "linear", "factor": 2.0}}, "rope_scaling"),
    ({"rotary": "head", "n_kv_heads": 4}, "rotary"),
])  # fmt: skip
def test_what_easylm_does_not_compute_is_refused_before_anything_is_written(
    shape: dict[str, Any], says: str, source: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=says):
        write_easylm(source(**shape), None, tmp_path)
    assert list(tmp_path.iterdir()) == []


class Promised(Checkpoint):
    """A model whose weights are too large to exist."""

    format = "promised"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(Path("promised"), config, {weight.name: Stored("float32", 0) for weight in weights(config)})

    def tensor(self, name: str) -> Tensor:
        raise AssertionError(name)

    def tokenizer(self) -> None:
        return None


def test_an_array_too_long_for_a_message_is_refused_before_a_weight_is_read(tmp_path: Path) -> None:
    config = ModelConfig(dim=1024, n_layers=1, n_heads=8, n_kv_heads=8, ffn_dim=1024, vocab_size=2**21)
    with pytest.raises(ExportError, match=r"lm_head/kernel takes 85899[0-9]* bytes") as error:
        write_easylm(Promised(config), None, tmp_path)
    assert "bfloat16" in error.value.hint


def test_disk_full_is_the_operating_systems_error(source: Callable[..., Checkpoint], tmp_path: Path) -> None:
    (tmp_path / "streaming_params").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_easylm(source(), None, tmp_path)


def test_the_card_gives_the_command_that_easylm_needs(
    source: Callable[..., Checkpoint], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    original = source(dtype=torch.bfloat16, **KINDS["tied"])
    write_easylm(original, tokenizer, tmp_path, form="train_state")
    card = (tmp_path / "README.md").read_text()
    for flag in (
        "--load_checkpoint='trainstate_params::streaming_train_state'", "--tokenizer='.'", "--add_bos_token=True",
        "--param_dtype=bf16 --dtype=bf16", "--seq_length=64", "--llama.vocab_size=512", "--llama.hidden_size=80",
        "--llama.intermediate_size=96", "--llama.num_hidden_layers=2", "--llama.num_attention_heads=4",
        "--llama.num_key_value_heads=1", "--llama.rms_norm_eps=1e-06", "--llama.max_position_embeddings=64",
    ):  # fmt: skip
        assert f" {flag} " in card or f" {flag}\n" in card, flag
    assert "trainstate::` cannot load it" in card
    assert "no tied layers" in card
    assert "tied_embeddings" not in card
    said = json.loads((tmp_path / "llama_config.json").read_text())
    assert (said["num_key_value_heads"], said["tied_embeddings"], said["rope_theta"]) == (1, True, 10000.0)


def test_the_tokenizer_lies_with_the_model(
    source: Callable[..., Checkpoint], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    write_easylm(source(), tokenizer, tmp_path)
    found = open_easylm(tmp_path / "streaming_params", Hints()).tokenizer()
    assert found is not None
    assert found.sha256 == tokenizer.sha256


@pytest.mark.oracle
def test_transformers_loads_the_tokenizer_as_easylms_commands_do(
    source: Callable[..., Checkpoint], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    write_easylm(source(), tokenizer, tmp_path)
    theirs: Any = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("def f(x):", "  two spaces", "Grüße, 世界"):
        assert theirs(text)["input_ids"] == tokenizer.encode(text, bos=True)
