"""Adapters of PEFT's own making give the same logits here; files that do not make sense are refused in a sentence."""

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from puna.core.errors import CheckpointError, FormatError
from puna.formats.peft.read import is_adapter, read_adapter
from puna.formats.peft.write import write_adapter

# PEFT asks transformers for a name that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank-stabilised": {"use_rslora": True},
    "dora": {"use_dora": True},
    "patterns": {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 6}, "alpha_pattern": {"q_proj": 3}},
    "embeddings whole": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "one layer": {"layers_to_transform": [1]},
}


def train_a_little(model: Any) -> None:
    """Give everything that learns values of its own."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn(parameter.shape, generator=generator) * 0.1


@pytest.mark.oracle
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_of_pefts_making_gives_its_logits(
    source: Callable[..., Any], decoder: Callable[..., Any], merge: Callable[..., Any], huggingface: Callable[..., Any],
    tmp_path: Path, kind: str,
) -> None:  # fmt: skip
    peft = pytest.importorskip("peft")
    base = source()
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    settings = {"r": 4, "lora_alpha": 6, "target_modules": targets, "task_type": "CAUSAL_LM"} | KINDS[kind]
    theirs = peft.get_peft_model(huggingface(base), peft.LoraConfig(**settings)).eval()
    train_a_little(theirs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.save_pretrained(tmp_path / "theirs")
    adapter = read_adapter(tmp_path / "theirs")
    adapter.check(base.config, "theirs")
    tokens_BT = torch.randint(0, 512, (2, 24), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, found = theirs(tokens_BT).logits, decoder(merge(base, adapter))(tokens_BT)
        plain = decoder(base)(tokens_BT)
    assert (plain - expected).abs().max() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.fixture
def written(source: Callable[..., Any], adapter: Callable[..., Any], tmp_path: Path) -> Path:
    """An adapter's directory without a record, so that its files can be changed."""
    write_adapter(adapter(source()), tmp_path / "adapter")
    (tmp_path / "adapter" / "record.json").unlink()
    return tmp_path / "adapter"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out = True"),
        ({"lora_bias": True}, "lora_bias = True"),
        ({"use_qalora": True}, "use_qalora = True"),
        ({"layer_replication": [[0, 2]]}, "layer_replication = "),
        ({"trainable_token_indices": [3]}, "trainable_token_indices = "),
        ({"of_next_year": {"x": 1}}, "of_next_year = "),
        ({"init_lora_weights": "pissa_niter_4"}, "took a part off the base's weights"),
        ({"lora_alpha": "16"}, "lora_alpha is '16', expected a number"),
        ({"alpha_pattern": {"(a+)+$": 2}}, "a regular expression"),
        ({"alpha_pattern": [1]}, "alpha_pattern is not a table"),
        ({"use_dora": True}, "has no lora_magnitude_vector, but use_dora is true"),
        ({"use_rslora": "yes"}, "use_rslora is 'yes', expected true or false"),
        ({"lora_alpha": 10**310}, "lora_alpha is 1000000000"),
        ({"lora_alpha": -1e300}, "lora_alpha is -1e+300, expected a number"),
        ({"alpha_pattern": {"q_proj": 10**310}}, "alpha_pattern.q_proj is 1000000000"),
        ({"r": 8, "rank_pattern": {}}, "has rank 4, but adapter_config.json says r = 8"),
        ({"r": "4", "rank_pattern": {}}, "r is '4', expected a whole number"),
        ({"r": 0, "rank_pattern": {}}, "r is 0, expected a whole number"),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(written: Path, change: dict[str, Any], sentence: str) -> None:
    file = written / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(FormatError) as caught:
        read_adapter(written)
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    ("key", "shape", "sentence"),
    [
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", (3, 80), "do not fit each other"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", None, "only one of lora_A and lora_B"),
        ("base_model.model.model.embed_tokens.lora_embedding_A", (4, 512), "has no place for"),
        ("base_model.model.lm_head.lora_A.weight", (4, 80), "has no place for"),
        ("base_model.model.model.layers.0.self_attn.q_proj.bias", (80,), "has no place for"),
        ("base_model.model.model.layers.99999999999.self_attn.q_proj.lora_A.weight", (4, 80), "has no place for"),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", (4, 80), "has no place for"),
    ],
)
def test_tensors_that_do_not_belong_are_refused(
    written: Path, key: str, shape: tuple[int, ...] | None, sentence: str
) -> None:
    tensors = load_file(written / "adapter_model.safetensors")
    if shape is None:
        del tensors[key]
    else:
        tensors[key] = torch.zeros(shape)
    save_file(tensors, written / "adapter_model.safetensors")
    with pytest.raises(FormatError, match=sentence):
        read_adapter(written)


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_numbers_that_are_not_finite_are_refused(written: Path, number: float, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(written / "adapter_model.safetensors").items()}
    name = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"
    tensors[name][3, 2] = number
    save_file(tensors, written / "adapter_model.safetensors")
    with pytest.raises(FormatError, match=r"layers\.1\.mlp\.up_proj\.lora_B\.weight has numbers that are not finite"):
        read_adapter(written)


def test_an_adapter_of_another_decoder_is_refused(source: Callable[..., Any], written: Path) -> None:
    adapter = read_adapter(written)
    with pytest.raises(CheckpointError, match=r"changes layers\.1\.attention\.wq\.weight, which the model does not"):
        adapter.check(source(n_layers=1).config, "it")
    with pytest.raises(CheckpointError, match=r"it: is of another model, it makes layers\.0\.attention\.wq\.weight"):
        adapter.check(source(dim=96).config, "it")


def test_a_pickle_is_not_opened(written: Path) -> None:
    (written / "adapter_model.safetensors").rename(written / "adapter_model.bin")
    with pytest.raises(FormatError, match=r"adapter_model\.bin is a pickle"):
        read_adapter(written)


def test_only_a_directory_with_settings_is_an_adapter(written: Path, tmp_path: Path) -> None:
    assert is_adapter(written)
    assert not is_adapter(tmp_path)
    with pytest.raises(FormatError, match="is not an adapter"):
        read_adapter(tmp_path)
