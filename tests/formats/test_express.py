import pytest

from puna.config.recipe import ModelConfig
from puna.core.errors import ExportError
from puna.formats.express import check_expressible, features

SHAPE = {"dim": 32, "n_layers": 1, "n_heads": 4, "n_kv_heads": 4, "ffn_dim": 48, "vocab_size": 300, "context": 16}

ALL = {
    "norm": {"norm": "layer"},
    "qk_norm": {"qk_norm": True},
    "rotary": {"rotary": "head"},
    "linear scaling": {"rope_scaling": {"kind": "linear", "factor": 2.0}},
    "llama3 scaling": {"rope_scaling": {"kind": "llama3", "factor": 8.0, "original_context": 8}},
    "head_dim": {"head_dim": 16},
    "tie_embeddings": {"tie_embeddings": True},
    "n_kv_heads": {"n_kv_heads": 2},
}


@pytest.mark.parametrize("feature", ALL)
def test_each_feature_is_seen_alone_and_refused_where_a_format_cannot_say_it(feature: str) -> None:
    config = ModelConfig.model_validate(SHAPE | ALL[feature])
    assert list(features(config)) == [feature]
    check_expressible(config, "a format", {feature})  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="which a format cannot express") as caught:
        check_expressible(config, "a format", set(ALL) - {feature})  # type: ignore[arg-type]
    key = next(iter(ALL[feature]))
    assert key.partition(".")[0] in caught.value.message


def test_llama_itself_has_none() -> None:
    assert features(ModelConfig()) == {}
    check_expressible(ModelConfig(), "a format", set())


def test_several_are_named_in_one_sentence() -> None:
    config = ModelConfig.model_validate(SHAPE | {"norm": "layer", "qk_norm": True})
    with pytest.raises(ExportError, match=r"^the model has norm = 'layer' and qk_norm = true, which GGUF cannot"):
        check_expressible(config, "GGUF", {"n_kv_heads"})
