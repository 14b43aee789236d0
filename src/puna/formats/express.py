"""Which decoders a format can express; others are refused, never approximated."""

from typing import Literal

from puna.config.recipe import ModelConfig
from puna.core.errors import ExportError

Feature = Literal[
    "norm", "qk_norm", "rotary", "linear scaling", "llama3 scaling", "head_dim", "tie_embeddings", "n_kv_heads"
]


def features(config: ModelConfig) -> dict[Feature, str]:
    """The features of this decoder beyond LLaMA 7B, each as the recipe writes it."""
    found: dict[Feature, str] = {}
    if config.norm != "rms":
        found["norm"] = f"norm = {config.norm!r}"
    if config.qk_norm:
        found["qk_norm"] = "qk_norm = true"
    if config.rotary != "position":
        found["rotary"] = f"rotary = {config.rotary!r}"
    if config.rope_scaling is not None:
        key: Feature = "linear scaling" if config.rope_scaling.kind == "linear" else "llama3 scaling"
        found[key] = f"rope_scaling.kind = {config.rope_scaling.kind!r}"
    if config.head_dim * config.n_heads != config.dim:
        found["head_dim"] = f"head_dim = {config.head_dim}, which is not dim / n_heads"
    if config.tie_embeddings:
        found["tie_embeddings"] = "tie_embeddings = true"
    if config.n_kv_heads != config.n_heads:
        found["n_kv_heads"] = f"n_kv_heads = {config.n_kv_heads} for n_heads = {config.n_heads}"
    return found


def check_expressible(config: ModelConfig, form: str, can: set[Feature]) -> None:
    """Refuse a decoder that a format cannot express.

    Args:
        config: The decoder.
        form: The format as users know it, such as "Hugging Face's LlamaForCausalLM".
        can: Features that the format can express beyond LLaMA 7B's architecture.

    Raises:
        ExportError: The format cannot express it.
    """
    if other := [said for feature, said in features(config).items() if feature not in can]:
        raise ExportError(f"the model has {' and '.join(other)}, which {form} cannot express")
