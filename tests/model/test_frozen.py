"""Which parameters do not learn."""

import pytest
import torch

from puna.config.model import ModelConfig
from puna.core.errors import TrainError
from puna.model.frozen import freeze, learns_in_part
from puna.model.llama import Llama


def small() -> Llama:
    with torch.device("meta"):
        return Llama(ModelConfig(dim=64, n_layers=12, n_heads=4, vocab_size=300, context=16))


def test_patterns_name_what_does_not_learn() -> None:
    model = small()
    assert not learns_in_part(model)
    frozen = freeze(model, ["tok_embeddings.*", "layers.[0-3].*"])
    assert "layers.3.attention.wq.weight" in frozen
    assert "layers.10.attention.wq.weight" not in frozen
    assert {name for name, weight in model.named_parameters() if not weight.requires_grad} == frozen
    assert learns_in_part(model)


@pytest.mark.parametrize(
    ("patterns", "sentence"),
    [(["embeddings"], "'embeddings' matches no parameter"), (["*"], "matches all parameters, so nothing would learn")],
)
def test_patterns_that_leave_all_or_nothing_are_refused(patterns: list[str], sentence: str) -> None:
    with pytest.raises(TrainError, match=sentence.replace("*", r"\*")):
        freeze(small(), patterns)
