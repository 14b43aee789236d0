"""Every layer that may have an update, and every parameter that may be whole, has one name in PEFT and back."""

from puna.config.model import ModelConfig
from puna.formats.peft.names import Place, key_of, module_of, place_of
from puna.formats.table import weights

CONFIG = ModelConfig(dim=64, n_layers=12, n_heads=4, vocab_size=300, context=16)


def test_names_go_both_ways() -> None:
    for weight in weights(CONFIG):
        assert place_of(key_of(Place("whole", weight.name))) == Place("whole", weight.name)
        if weight.is_matrix and weight.name.startswith("layers."):
            for role in ("a", "b", "magnitude"):
                place = Place(role, weight.name.removesuffix(".weight"))
                assert place_of(key_of(place)) == place


def test_a_layer_has_transformers_name() -> None:
    assert module_of("layers.11.feed_forward.w2") == "model.layers.11.mlp.down_proj"


def test_the_older_name_of_magnitudes_is_known() -> None:
    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"
    assert place_of(key) == place_of(key + ".weight") == Place("magnitude", "layers.0.attention.wq")
