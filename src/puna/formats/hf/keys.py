"""Which keys of Hugging Face's `config.json` are read, which must have LLaMA's value, and which change nothing.

A key that is in none of these lists may change what the model computes, and is refused: new decoders come with new
keys, and a list of forbidden ones never has the next. `null`, an empty text, list or table says nothing and passes.
"""

from pathlib import Path
from typing import Any

from puna.core.errors import FormatError

_READ = frozenset({
    "architectures", "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "intermediate_size", "vocab_size", "max_position_embeddings", "max_sequence_length", "rms_norm_eps",
    "rope_theta", "rope_scaling", "rope_parameters", "tie_word_embeddings", "initializer_range", "sliding_window",
    "auto_map", "original_max_position_embeddings",
})  # fmt: skip
"""What `puna.formats.hf.config` reads."""

_AS_LLAMA: dict[str, tuple[Any, ...]] = {
    # The network of each block.
    "hidden_act": ("silu", "swish"), "hidden_activation": ("silu", "swish"), "activation_function": ("silu", "swish"),
    "num_experts": (0,), "num_local_experts": (0,), "n_routed_experts": (0,), "use_moe": (False,),
    # Biases.
    "attention_bias": (False,), "mlp_bias": (False,), "bias": (False,), "qkv_bias": (False,), "attn_bias": (False,),
    "use_bias": (False,), "use_qkv_bias": (False,), "add_bias_linear": (False,), "add_qkv_bias": (False,),
    "attention_out_bias": (False,), "lm_head_bias": (False,), "no_bias": (True,),
    # Positions.
    "partial_rotary_factor": (1,), "rotary_pct": (1,), "rope_pct": (1,), "rope_interleaved": (False,),
    "position_embedding_type": ("rope", "rotary"), "use_rope": (True,), "alibi": (False,), "use_alibi": (False,),
    "rope_ratio": (1,), "rope_type": ("default",),
    # Attention.
    "is_causal": (True,), "qk_norm": (False,), "use_qk_norm": (False,), "qk_layernorm": (False,),
    "use_sliding_window": (False,), "multi_query": (False,), "add_cross_attention": (False,),
    "attn_temperature_tuning": (False,), "scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False,),
    # The stream, the norms and the logits.
    "embedding_multiplier": (1,), "residual_multiplier": (1,), "logits_scaling": (1,), "logit_scale": (1,),
    "scale_embedding": (False,), "scale_depth": (1,), "parallel_attn": (False,), "use_parallel_residual": (False,),
    "use_rms_norm": (True,), "norm_type": ("rms_norm", "rmsnorm"), "post_embed_norm": (False,),
    # The whole.
    "is_encoder_decoder": (False,), "num_mtp_layers": (0,), "num_nextn_predict_layers": (0,),
}  # fmt: skip
"""Keys of decoders beyond LLaMA, with the values that make them LLaMA's."""

_HARMLESS = frozenset({
    # How it was saved, and how it is to be loaded and run.
    "transformers_version", "torch_dtype", "dtype", "use_bfloat16", "torchscript", "return_dict", "use_return_dict",
    "output_attentions", "output_hidden_states", "use_cache", "name_or_path", "model_name", "tokenizer_class",
    "attn_implementation", "use_flash_attention", "use_flash_attention_2", "use_flash_attn", "flash_attention",
    "pretraining_tp", "chunk_size_feed_forward", "gradient_checkpointing", "use_gradient_checkpointing",
    "base_model_tp_plan", "base_model_pp_plan", "is_llama_config", "is_decoder", "tie_encoder_decoder", "use_fast",
    "model_max_length", "tokenizer_model_max_length", "tokenizer_padding_side", "padding_side",
    "use_cache_quantization", "use_cache_kernel", "tensor_parallel_size", "max_batch_size", "is_composition",
    "trust_remote_code", "keys_to_ignore_at_inference", "base_model_name_or_path", "base_model", "library_name",
    "license", "language", "languages", "tags",
    "transformers.js_config", "reorder_and_upcast_attn", "max_window_layers", "problem_type", "tf_legacy_loss",
    # Heads of other tasks, which LlamaForCausalLM does not have.
    "id2label", "label2id", "num_labels", "finetuning_task", "task_specific_params", "classifier_dropout",
    "summary_activation", "summary_proj_to_labels", "summary_type", "summary_use_proj",
    "cross_attention_hidden_size",
    # Training: dropout is off where a model is used.
    "attention_dropout", "hidden_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob", "resid_pdrop",
    "resid_dropout", "residual_dropout", "residue_dropout", "embd_pdrop", "embedding_dropout", "attn_pdrop",
    "attn_dropout", "ffn_dropout", "feedforward_dropout", "mlp_dropout", "dropout", "initializer_cutoff_factor",
    "neftune_noise_alpha", "ignore_index", "label_smoothing", "router_aux_loss_coef", "output_router_logits",
    "z_loss_coefficient",
    # Tokens and sampling.
    "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "decoder_start_token_id",
    "bos_token", "eos_token", "pad_token", "unk_token", "chat_template", "prefix", "max_length", "min_length",
    "max_new_tokens", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty",
    "temperature", "top_k", "top_p", "min_p", "typical_p",
    "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
    "num_return_sequences", "output_scores", "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id",
    "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
    "generation_config",
})  # fmt: skip
"""Keys that change nothing that is computed: transformers' own for every model, and those that tools add."""

_HARMLESS_STARTS = ("_", "unsloth_")
"""Tools mark what is theirs so: `_name_or_path`, `_attn_implementation`, `unsloth_version`."""

_QUANTIZED = ("quantization_config", "quantization", "compression_config")
"""transformers' key, MLX's, and compressed-tensors' first."""


def check_keys(path: Path, fields: dict[str, Any]) -> None:
    """Refuse a file with a key that may make another decoder than LLaMA of it.

    Raises:
        FormatError: It has such a key; the error names it.
    """
    for name in _QUANTIZED:
        if quantized := fields.get(name):
            method = quantized.get("quant_method", "") if isinstance(quantized, dict) else quantized
            raise FormatError(
                f"{path}: has {name} ({method!r:.80}), and Puna reads float32, bfloat16 and float16 only",
                hint="take the model's own repository instead of a quantized one",
            )
    for name, value in fields.items():
        if value is None or value in ("", [], {}) or name in _READ or name in _HARMLESS:
            continue
        if name in _AS_LLAMA:
            _check_value(path, name, value)
        elif name == "layer_types":
            _check_layer_types(path, value)
        elif not name.startswith(_HARMLESS_STARTS):
            raise FormatError(
                f"{path}: has {name!r:.80} = {value!r:.80}, which no LLaMA has, and which may change what the model "
                "computes",
                hint="if you know that it changes nothing, remove it from the file",
            )


def _check_value(path: Path, name: str, value: Any) -> None:
    allowed = _AS_LLAMA[name]
    # A switch is a boolean and a factor is a number; Python takes True for 1.
    if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed):
        raise FormatError(f"{path}: {name} = {value!r:.80}, and a LLaMA decoder has {allowed[0]!r}")


def _check_layer_types(path: Path, value: Any) -> None:
    """Every layer of a LLaMA decoder sees all of the context."""
    if not isinstance(value, list) or any(kind != "full_attention" for kind in value):
        raise FormatError(f"{path}: layer_types = {value!r:.80}, and a LLaMA decoder has 'full_attention' everywhere")
