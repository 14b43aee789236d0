"""The decoder that open_lm's files and tensors describe, or the reason why Puna does not compute it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from puna.config.recipe import ModelConfig
from puna.core.errors import FormatError
from puna.formats.checkpoint import Hints, model_config
from puna.formats.openlm.params import Settings
from puna.formats.table import count_layers

NORM_EPS = 1e-5
"""open_lm's `Params.norm_eps`; none of its configurations changes it."""
ROPE_THETA = 10_000.0
"""The base of all its rotary embeddings."""

NORMS = {
    "gain_only_layer_norm": "layer", "gain_only_lp_layer_norm": "layer", "default_layer_norm": "layer-bias",
    "lp_layer_norm": "layer-bias", "rms_norm": "rms",
}  # fmt: skip
"""`model_norm` and our name. The two LayerNorms of one kind differ under autocast only."""
_OTHER_NORMS = {
    "no_wb_layer_norm": "LayerNorm without gains",
}
ROTARY = {"rotary": "position", "llama_rotary": "position", "head_rotary": "head", "none": "head"}
"""`positional_embedding_type` and our name."""
_OTHER_NETWORKS = {
    "gelu": "a feed-forward network without a gate",
    "gemma_geglu": "a GELU gate with biases",
    "moe": "a mixture of experts",
}
_SOFTMAX = ("auto", "xformers_attn", "xformers_attn_variable_length", "torch_attn")


@dataclass(frozen=True)
class Decoder:
    """A decoder as open_lm's files describe it."""

    config: ModelConfig
    pairs_neighbours: bool
    """Whether rows 2i and 2i + 1 of a head turn together (`llama_rotary`) and not i and i + H/2."""
    notes: list[str]


def feed_forward_dim(dim: int) -> int:
    """open_lm's feed-forward width for a model's width: 2/3 of four times it, rounded up to a multiple of 256."""
    return 256 * -(-int(2 * 4 * dim / 3) // 256)


def decoder_of(path: Path, settings: Settings, shapes: Mapping[str, tuple[int, ...]], hints: Hints) -> Decoder:
    """The decoder that files and tensors make.

    Args:
        path: What the user named.
        settings: What the files beside the weights say.
        shapes: Of all tensors, by open_lm's names.
        hints: What the user says.

    Raises:
        FormatError: It is none that Puna computes, something is said by nobody, or they contradict each other.
    """
    _refuse_other_architectures(settings)
    norm, turned = _norm(path, settings, shapes), _turned(settings)
    values, notes = settings.values, list(settings.notes)
    layers, (vocab, dim), heads = _sizes(path, settings, shapes, hints)
    context = values.get("seq_len", hints.context)
    if context is None:
        context = 2048
        notes.append("no file says the context, so it is open_lm's usual 2048")
    if turned is None:
        notes.append(
            "no file says positional_embedding_type, so it is open_lm's default, 'rotary'; the models of 2023 need "
            "'head_rotary'"
        )
    elif turned == "none":
        notes.append("positional_embedding_type = 'none' is rotary = \"head\" here, which turns nothing either")
    joined = shapes.get("layers.0.feed_forward.w12.weight", ())
    config = model_config(
        path,
        {
            "dim": dim, "n_layers": layers, "n_heads": heads, "n_kv_heads": heads, "head_dim": dim // heads,
            "ffn_dim": joined[0] // 2 if len(joined) == 2 else feed_forward_dim(dim),
            "vocab_size": vocab, "context": context,
            "norm": norm, "norm_eps": values.get("norm_eps", hints.norm_eps or NORM_EPS),
            "qk_norm": values.get("qk_norm", "layers.0.attention.q_norm.weight" in shapes),
            "rotary": ROTARY[turned or "rotary"], "rope_theta": hints.rope_theta or ROPE_THETA,
            "tie_embeddings": values.get("weight_tying", "output.weight" not in shapes),
        },
    )  # fmt: skip
    hints.refuse_other_values(path, config)
    return Decoder(config, turned == "llama_rotary", notes)


def _sizes(
    path: Path, settings: Settings, shapes: Mapping[str, tuple[int, ...]], hints: Hints
) -> tuple[int, tuple[int, int], int]:
    """Layers, vocabulary and width, heads."""
    values = settings.values
    layers = count_layers(shapes, "layers.")
    if layers > len(shapes) or values.get("n_layers", layers) != layers or not layers:
        other = f"{settings.files['n_layers'].name} says {values['n_layers']}" if "n_layers" in values else ""
        raise FormatError(f"{path}: has tensors of {layers} layers, but {other or f'{len(shapes)} in all'}")
    embedding = shapes.get("tok_embeddings.weight", shapes.get("output.weight", ()))
    if len(embedding) != 2:
        raise FormatError(f"{path}: has no matrix tok_embeddings.weight, which says the vocabulary and the width")
    dim = values.get("hidden_dim", embedding[1])
    heads = values.get("n_heads", hints.n_heads)
    if heads is None:
        hint = "name them (--heads N), or put the model's configuration or params.txt beside it"
        raise FormatError(f"{path}: no file beside it says the number of heads", hint=hint)
    if not 0 < heads <= dim:
        raise FormatError(f"{path}: a width of {dim} cannot have {heads} heads")
    return layers, (values.get("vocab_size", embedding[0]), dim), heads


def _norm(path: Path, settings: Settings, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Our name of the normalisation, which does not follow from the gains."""
    norm = settings.choose("model_norm", NORMS, _OTHER_NORMS)
    biased = "norm.bias" in shapes
    if norm is not None and "norm.weight" in shapes and biased != (norm == "layer-bias"):
        has = "have biases (norm.bias)" if biased else "have no biases"
        where, what = settings.files["model_norm"].name, settings.values["model_norm"]
        raise FormatError(f"{path}: its norms {has}, but {where} says {what}")
    if norm is not None or biased:
        return norm or "layer-bias"
    raise FormatError(
        f"{path}: no file beside it says model_norm, so it may be LayerNorm or RMSNorm",
        hint="put the params.txt of its training, or a JSON file of open_lm's model_configs with model_norm and "
        "positional_embedding_type, beside it",
    )


def _turned(settings: Settings) -> str | None:
    settings.choose("positional_embedding_type", ROTARY, {})
    return settings.values.get("positional_embedding_type")


def _refuse_other_architectures(settings: Settings) -> None:
    """Refuse settings that Puna's decoder does not compute."""
    values, files = settings.values, settings.files
    if "mamba" in values.get("model", ""):
        raise FormatError(f"{files['model']}: model = {values['model']!r:.80} is not a transformer")
    settings.choose("ffn_type", {"swiglu": "", "swiglu_torch": ""}, _OTHER_NETWORKS)
    if values.get("moe_freq", 0) > 0:
        raise FormatError(
            f"{files['moe_freq']}: moe_freq = {values['moe_freq']} makes a mixture of experts of some layers, which "
            "Puna's decoder does not compute"
        )
    if values.get("post_embed_norm"):
        raise FormatError(
            f"{files['post_embed_norm']}: post_embed_norm = true normalises the embeddings, which Puna's decoder does "
            "not compute"
        )
    attention = values.get("attn_name", "auto")
    scaled = values.get("attn_seq_scalar", "none") != "none" and values.get("attn_seq_scalar_alpha") != 0
    softmax = values.get("attn_activation") == "softmax" and not scaled
    if attention not in _SOFTMAX and not (attention == "custom_attn" and softmax):
        raise FormatError(
            f"{files['attn_name']}: attn_name = {attention!r:.80} with attn_activation = "
            f"{values.get('attn_activation')!r:.80} is another attention than the softmax of scores that Puna computes"
        )
