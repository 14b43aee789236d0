"""Scales as PEFT computes them from alpha, rank and patterns."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import FormatError
from puna.formats.peft.config import Settings, read_settings

MODULE = "model.layers.1.self_attn.q_proj"


def read(directory: Path, **values: Any) -> Settings:
    (directory / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"} | values))
    return read_settings(directory)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"lora_alpha": 16}, 16 / 4),
        ({}, 8 / 4),
        ({"lora_alpha": 16, "use_rslora": True}, 16 / math.sqrt(4)),
        ({"alpha_pattern": {"q_proj": 3}}, 3 / 4),
        ({"alpha_pattern": {"^model.layers.1.self_attn.q_proj$": 5}}, 5 / 4),
        ({"alpha_pattern": {r"model\.layers\.1\.self_attn\.q_proj": 5}}, 5 / 4),
        ({"alpha_pattern": {"^q_proj": 3}}, 8 / 4),
        ({"alpha_pattern": {"proj": 3, "layers.11.self_attn.q_proj": 3}}, 8 / 4),
    ],
)
def test_the_scale_of_a_layer(tmp_path: Path, values: dict[str, Any], expected: float) -> None:
    assert read(tmp_path, **values).scale(MODULE, 4) == expected


def test_empty_and_false_values_say_nothing(tmp_path: Path) -> None:
    settings = read(tmp_path, fan_in_fan_out=False, loftq_config={}, arrow_config=None, base_model_name_or_path=None)
    assert settings.base == ""
    assert not settings.dora


def test_what_is_not_an_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(FormatError, match="not an object"):
        read_settings(tmp_path)
