"""Our parameter names and Hugging Face's, from one table."""

from puna.config.recipe import ModelConfig

_OUTER = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}

_BLOCK = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention.wq.weight": "self_attn.q_proj.weight",
    "attention.wk.weight": "self_attn.k_proj.weight",
    "attention.wv.weight": "self_attn.v_proj.weight",
    "attention.wo.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "feed_forward.w1.weight": "mlp.gate_proj.weight",
    "feed_forward.w2.weight": "mlp.down_proj.weight",
    "feed_forward.w3.weight": "mlp.up_proj.weight",
}


def huggingface_names(config: ModelConfig) -> dict[str, str]:
    """Our name of every stored parameter and Hugging Face's, in the order of the decoder.

    Values need no change: both pair the halves of a head in their rotary embeddings. A tied output layer is not stored.
    """
    names = {"tok_embeddings.weight": _OUTER["tok_embeddings.weight"]}
    for layer in range(config.n_layers):
        names |= {f"layers.{layer}.{ours}": f"model.layers.{layer}.{theirs}" for ours, theirs in _BLOCK.items()}
    names["norm.weight"] = _OUTER["norm.weight"]
    if not config.tie_embeddings:
        names["output.weight"] = _OUTER["output.weight"]
    return names
