"""Settings of open_lm: each is a decoder of ours, or refused by its name."""

from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import FormatError
from puna.formats.checkpoint import Hints
from puna.formats.openlm.config import Decoder, decoder_of, feed_forward_dim
from puna.formats.openlm.params import Settings

PATH = Path("epoch_1.pt")
SIZES = {"hidden_dim": 80, "n_layers": 2, "n_heads": 4, "seq_len": 64, "vocab_size": 300, "post_embed_norm": False,
         "weight_tying": False}  # fmt: skip
SETTINGS = {"model_norm": "gain_only_layer_norm", "positional_embedding_type": "rotary", "qk_norm": False}
SHAPES: dict[str, tuple[int, ...]] = {
    "tok_embeddings.weight": (300, 80),
    "layers.0.feed_forward.w12.weight": (512, 80),
    "layers.0.norm.weight": (80,),
    "layers.1.norm.weight": (80,),
    "output.weight": (300, 80),
}


def decoder(hints: Hints | None = None, shapes: dict[str, tuple[int, ...]] | None = None, **said: Any) -> Decoder:
    """The decoder of what is said in params.txt; `None` takes a setting away."""
    statement = Settings()
    statement.add(Path("run/params.txt"), SIZES | SETTINGS | said)
    return decoder_of(PATH, statement, SHAPES if shapes is None else shapes, hints or Hints())


def test_defaults_of_open_lms_code_are_taken() -> None:
    made = decoder()
    config = made.config
    assert (config.dim, config.n_layers, config.n_heads, config.n_kv_heads, config.head_dim) == (80, 2, 4, 4, 20)
    assert (config.ffn_dim, config.vocab_size, config.context, config.tie_embeddings) == (256, 300, 64, False)
    assert (config.norm, config.norm_eps, config.qk_norm) == ("layer", 1e-5, False)
    assert (config.rotary, config.rope_theta, config.rope_scaling) == ("position", 10_000.0, None)
    assert (made.pairs_neighbours, made.notes) == (False, [])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"model_norm": "gain_only_lp_layer_norm"}, {"norm": "layer"}),
        ({"model_norm": "rms_norm"}, {"norm": "rms", "norm_eps": 1e-5}),
        ({"qk_norm": True}, {"qk_norm": True}),
        ({"norm_eps": 1e-6}, {"norm_eps": 1e-6}),
        ({"weight_tying": True}, {"tie_embeddings": True}),
        ({"positional_embedding_type": "head_rotary"}, {"rotary": "head"}),
        ({"positional_embedding_type": "llama_rotary"}, {"rotary": "position"}),
        ({"n_heads": 7, "hidden_dim": 88}, {"n_heads": 7, "head_dim": 12}),
        ({"ffn_type": "swiglu", "attn_name": "xformers_attn"}, {}),
        ({"ffn_type": "swiglu_torch", "attn_name": "torch_attn", "moe_freq": 0}, {}),
        ({"attn_name": "custom_attn", "attn_activation": "softmax"}, {}),
        ({"attn_name": "custom_attn", "attn_activation": "softmax", "attn_seq_scalar": "max",
          "attn_seq_scalar_alpha": 0.0}, {}),
    ],
    ids=str,
)  # fmt: skip
def test_every_setting_that_the_decoder_has_is_mapped(said: dict[str, Any], expected: dict[str, Any]) -> None:
    made = decoder(**said)
    assert {key: getattr(made.config, key) for key in expected} == expected
    assert made.pairs_neighbours == (said.get("positional_embedding_type") == "llama_rotary")


def test_no_turn_at_all_is_a_turn_by_the_heads_number() -> None:
    made = decoder(positional_embedding_type="none")
    assert made.config.rotary == "head"
    assert "turns nothing either" in made.notes[0]


REFUSED = {
    "no_wb_layer_norm": ({"model_norm": "no_wb_layer_norm"}, "is LayerNorm without gains"),
    "unknown norm": ({"model_norm": "new_norm"}, "model_norm = 'new_norm' is unknown"),
    "unknown rotary": ({"positional_embedding_type": "alibi"}, "positional_embedding_type = 'alibi' is unknown"),
    "gelu": ({"ffn_type": "gelu"}, "ffn_type = 'gelu' is a feed-forward network without a gate"),
    "gemma_geglu": ({"ffn_type": "gemma_geglu"}, "is a GELU gate with biases"),
    "moe": ({"ffn_type": "moe"}, "is a mixture of experts"),
    "moe_freq": ({"moe_freq": 2}, "moe_freq = 2 makes a mixture of experts"),
    "post_embed_norm": ({"post_embed_norm": True}, "post_embed_norm = true normalises the embeddings"),
    "relu attention": (
        {"attn_name": "custom_attn", "attn_activation": "relu"}, "attn_activation = 'relu' is another attention"
    ),
    "scaled attention": (
        {"attn_name": "custom_attn", "attn_activation": "softmax", "attn_seq_scalar": "max",
         "attn_seq_scalar_alpha": 0.5}, "attn_name = 'custom_attn'",
    ),
    "mamba": ({"model": "mamba_1b"}, "model = 'mamba_1b' is not a transformer"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_other_architectures_are_refused_by_name(said: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence) as caught:
        decoder(**said)
    assert caught.value.message.startswith("run/params.txt: ")


@pytest.mark.parametrize("said", ["default_layer_norm", "lp_layer_norm", None])
def test_biases_of_norms_are_those_of_the_first_models(said: str | None) -> None:
    biased = SHAPES | {"norm.weight": (80,), "norm.bias": (80,)}
    assert decoder(shapes=biased, model_norm=said).config.norm == "layer-bias"


def test_biases_that_contradict_the_files_are_refused() -> None:
    gains = SHAPES | {"norm.weight": (80,)}
    with pytest.raises(FormatError, match=r"its norms have biases \(norm.bias\), but params.txt says gain_only"):
        decoder(shapes=gains | {"norm.bias": (80,)}, model_norm="gain_only_layer_norm")
    with pytest.raises(FormatError, match=r"its norms have no biases, but params\.txt says default_layer_norm"):
        decoder(shapes=gains, model_norm="default_layer_norm")


def test_what_the_tensors_do_not_show_must_be_said() -> None:
    with pytest.raises(FormatError, match="no file beside it says model_norm") as caught:
        decoder(model_norm=None)
    assert "params.txt" in caught.value.hint
    with pytest.raises(FormatError, match="no file beside it says the number of heads") as caught:
        decoder(n_heads=None)
    assert "--heads N" in caught.value.hint


def test_what_the_tensors_show_need_not_be_said() -> None:
    shapes = SHAPES | {"layers.0.attention.q_norm.weight": (80,)}
    unsaid = dict.fromkeys(("hidden_dim", "n_layers", "vocab_size", "post_embed_norm", "weight_tying", "qk_norm"))
    made = decoder(shapes=shapes, **unsaid)
    assert made.config == decoder(qk_norm=True).config
    assert made.notes == []
    tied = decoder(shapes={name: shape for name, shape in SHAPES.items() if name != "output.weight"}, **unsaid)
    assert tied.config.tie_embeddings


def test_what_is_assumed_is_noted() -> None:
    made = decoder(seq_len=None, positional_embedding_type=None)
    assert (made.config.context, made.config.rotary) == (2048, "position")
    assert ["usual 2048" in made.notes[0], "open_lm's default, 'rotary'" in made.notes[1]] == [True, True]


def test_hints_say_what_the_files_do_not_and_nothing_else() -> None:
    hints = Hints(n_heads=8, n_kv_heads=8, context=99, norm_eps=1e-6, rope_theta=5e5)
    config = decoder(hints, n_heads=None, seq_len=None).config
    assert (config.n_heads, config.context, config.norm_eps, config.rope_theta) == (8, 99, 1e-6, 5e5)
    contradictions: list[Hints] = [Hints(n_heads=8), Hints(n_kv_heads=2), Hints(context=65)]
    for hint in contradictions:
        with pytest.raises(FormatError, match=r"epoch_1.pt: has .* was given"):
            decoder(hint)


WRONG = {
    "more heads than numbers": ({"n_heads": 81}, "a width of 80 cannot have 81 heads"),
    "no heads": ({"n_heads": 0}, "a width of 80 cannot have 0 heads"),
    "more layers": ({"n_layers": 2**30}, "has tensors of 2 layers, but params.txt says 1073741824"),
    "odd heads": ({"n_heads": 16}, "head_dim = 5 is odd"),
    "no context": ({"seq_len": 0}, "context"),
}


@pytest.mark.parametrize(("said", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_sizes_that_make_no_sense_are_refused(said: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        decoder(**said)


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        ({}, "has tensors of 0 layers"),
        ({"layers.999999999.x": (1,)}, "has tensors of 1000000000 layers, but 1 in all"),
        ({"layers.0.x": (1,)}, "has no matrix tok_embeddings.weight"),
        ({"layers.0.x": (1,), "tok_embeddings.weight": (5,)}, "has no matrix tok_embeddings.weight"),
    ],
)
def test_tensors_that_are_not_models_are_refused(shapes: dict[str, tuple[int, ...]], sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        decoder(shapes=shapes, n_layers=None)


# hidden_dim of the files in open_lm/model_configs, and the rows of w3 that its Transformer makes of it.
@pytest.mark.parametrize(("dim", "width"), [(96, 256), (488, 1536), (1024, 2816), (2048, 5632), (4096, 11008)])
def test_feed_forward_widths_are_open_lms(dim: int, width: int) -> None:
    assert feed_forward_dim(dim) == width
