import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from memory import MemoryCheckpoint

from puna.core.errors import FormatError
from puna.formats.cast import CastCheckpoint
from puna.formats.checkpoint import Checkpoint, DelegatingCheckpoint, Hints, check_shape, model_config
from puna.formats.watched import WatchedCheckpoint
from puna.ops.quantized import Blocks, WeightKind, quantize
from puna.tokenizer.tokenizer import Tokenizer

PATH = Path("somewhere/model")
BLOCKS = quantize(torch.ones(2, 32), WeightKind.INT8)


def test_missing_and_extra_tensors_are_counted_and_the_first_is_named(source: Callable[..., Any]) -> None:
    model = source()
    assert model.missing == []
    model.check_complete()
    model.extra = ["a.bias"]
    with pytest.raises(FormatError, match=r"has 1 tensor that a LLaMA decoder has no place for, the first is a\.bias"):
        model.check_complete()
    stored = dict(model.stored)
    for name in ("layers.0.attention.wq.weight", "norm.weight"):
        del stored[name]
    model.stored = stored
    with pytest.raises(FormatError, match=r"lacks 2 tensors, the first is layers\.0\.attention\.wq\.weight"):
        model.check_complete()


def test_its_files_are_what_was_named_or_what_lies_in_it(source: Callable[..., Any], tmp_path: Path) -> None:
    model = source()
    (tmp_path / "below").mkdir()
    for name in ("b.bin", "a.bin", "below/c.bin"):
        (tmp_path / name).write_bytes(b"x")
    model.path = tmp_path
    assert [path.name for path in model.files] == ["a.bin", "b.bin"]
    model.path = tmp_path / "b.bin"
    assert model.files == [tmp_path / "b.bin"]


def test_likes_have_the_shape_and_dtype_and_no_values(source: Callable[..., Any]) -> None:
    model = source(dtype=torch.bfloat16)
    for name, tensor in model.tensors.items():
        like = model.like(name)
        assert (like.shape, like.dtype, like.device.type) == (tensor.shape, torch.bfloat16, "meta")


def test_a_configuration_that_is_not_a_decoder_is_one_sentence() -> None:
    with pytest.raises(FormatError, match=r"^somewhere/model: dim: Input should be greater than 0, found 0$"):
        model_config(PATH, {"dim": 0})
    with pytest.raises(FormatError, match=r"^somewhere/model: n_heads = 3 is not a multiple of n_kv_heads = 2$"):
        model_config(PATH, {"dim": 12, "n_heads": 3, "n_kv_heads": 2})
    with pytest.raises(FormatError, match="somewhere/model: dim: "):
        model_config(PATH, {"dim": "4096"})
    with pytest.raises(FormatError, match="says 2147483647 layers, more than the 10000 that Puna accepts"):
        model_config(PATH, {"n_layers": 2**31 - 1})
    assert model_config(PATH, {"dim": 64, "n_heads": 2, "n_kv_heads": 1}).head_dim == 32


def test_a_shape_that_disagrees_names_the_tensor_and_both_shapes() -> None:
    check_shape(PATH, "w", [2, 3], (2, 3))
    with pytest.raises(FormatError, match=r"w is \[2, 3\], but the configuration makes it \[3, 2\]"):
        check_shape(PATH, "w", [2, 3], (3, 2))


@pytest.mark.parametrize(
    "hint", [{"n_heads": 8}, {"n_kv_heads": 1}, {"context": 128}, {"norm_eps": 0.5}, {"rope_theta": 5.0}]
)
def test_a_hint_that_contradicts_the_files_is_refused(source: Callable[..., Any], hint: dict[str, Any]) -> None:
    config = source().config
    Hints().refuse_other_values(PATH, config)
    name, value = next(iter(hint.items()))
    Hints(**{name: getattr(config, name)}).refuse_other_values(PATH, config)
    with pytest.raises(FormatError, match=rf"has {name} = {getattr(config, name)}, but {value} was given"):
        Hints(**hint).refuse_other_values(PATH, config)


class Odd(MemoryCheckpoint):
    """A checkpoint that overrides what it may."""

    verified = 0

    @property
    def files(self) -> list[Path]:
        return [Path("one"), Path("two")]

    def blocks(self, name: str) -> Blocks:
        return BLOCKS

    def verify(self) -> None:
        self.verified += 1


@pytest.mark.parametrize(
    "wrap",
    [lambda source: DelegatingCheckpoint(source), lambda source: WatchedCheckpoint(source, lambda done: None)],
    ids=["plain", "watched"],
)
def test_a_wrapped_checkpoint_is_its_source_in_everything(
    source: Callable[..., Any], tokenizer: Tokenizer, wrap: Callable[[Checkpoint], Checkpoint]
) -> None:
    model = source()
    odd = Odd(model.config, model.tensors, tokenizer)
    wrapped = wrap(odd)
    # What is found out later, such as a note on the tokenizer, is seen through the wrapper too.
    odd.notes.append("a note")
    odd.chat_template = "{{ a }}"
    names = {name for name in {*vars(odd), *dir(Checkpoint)} if not name.startswith("_")} | {"format"}
    for name in names - {"tensor", "blocks", "tokenizer", "verify", "like", "check_complete", "tensors", "verified"}:
        assert getattr(wrapped, name) == getattr(odd, name), name
    assert wrapped.tensor("norm.weight") is odd.tensor("norm.weight")
    assert wrapped.blocks("output.weight") is BLOCKS
    assert wrapped.tokenizer() is tokenizer
    assert wrapped.like("norm.weight").shape == odd.like("norm.weight").shape
    wrapped.verify()
    assert odd.verified == 1
    with pytest.raises(AttributeError, match="nothing"):
        wrapped.nothing  # noqa: B018


def test_another_dtype_changes_what_is_stored_and_nothing_else(source: Callable[..., Any]) -> None:
    model = source()
    odd = Odd(model.config, model.tensors)
    cast = CastCheckpoint(odd, "bfloat16")
    assert {stored.dtype for stored in cast.stored.values()} == {"bfloat16"}
    assert cast.files == odd.files
    assert (cast.like("norm.weight").dtype, odd.like("norm.weight").dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.layers.0.self_attn.q_proj.qweight", "those of a model that GPTQ or AWQ quantized"),
        ("model.layers.0.self_attn.q_proj.weight.quant_state.bitsandbytes__nf4", "that bitsandbytes quantized"),
        ("model.layers.0.mlp.up_proj.weight.absmax", "that bitsandbytes quantized"),
        ("model.layers.0.self_attn.q_proj.weight_scale_inv", "quantized to 8 bits or fewer"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "of an adapter, which is to be merged"),
        ("blk.0.attn_q.bias", "biases, which LLaMA does not have"),
        ("model.layers.0.self_attn.q_norm.weight", "norms of queries and keys"),
        ("model.layers.0.block_sparse_moe.gate.weight", "a mixture of experts"),
    ],
)
def test_tensors_beyond_a_llamas_are_said_to_be_of_what(source: Callable[..., Any], name: str, said: str) -> None:
    model = source()
    model.extra = [name]
    with pytest.raises(FormatError, match=rf"no place for, the first is {re.escape(name)}: .*{said}"):
        model.check_complete()
    model.stored = dict(list(model.stored.items())[1:])
    with pytest.raises(
        FormatError, match=rf"lacks 1 tensor, the first is tok_embeddings.weight; it has others, .*{said}"
    ):
        model.check_complete()
