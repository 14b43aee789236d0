from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from puna.core.errors import FormatError
from puna.formats.checkpoint import Hints, check_shape, model_config

PATH = Path("somewhere/model")


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


def test_a_configuration_that_is_no_decoder_is_one_sentence() -> None:
    with pytest.raises(FormatError, match=r"^somewhere/model: dim: Input should be greater than 0, found 0$"):
        model_config(PATH, {"dim": 0})
    with pytest.raises(FormatError, match=r"^somewhere/model: n_heads = 3 is not a multiple of n_kv_heads = 2$"):
        model_config(PATH, {"dim": 12, "n_heads": 3, "n_kv_heads": 2})
    with pytest.raises(FormatError, match="somewhere/model: dim: "):
        model_config(PATH, {"dim": "4096"})
    with pytest.raises(FormatError, match="says 2147483647 layers, and more than 10000 are not believed"):
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
