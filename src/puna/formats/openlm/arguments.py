"""Which settings in open_lm's files may change what a model computes, of those that Puna does not read.

A training has some 130 arguments, forks of open_lm have more, and nearly all of them end with the training. So those
of open_lm are listed, and of the others those are refused whose names speak of a part of the decoder.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from puna.core.errors import FormatError

_OF_TRAINING = """
    accum_freq average average_coefficients averagers beta1 beta2 config copy_codebase data_key
    data_tolerate_error_p data_tolerate_num_ckpts dataset_manifest dataset_resampled dataset_type
    ddp_static_graph debug delete_previous_checkpoint disable_buffer dist_backend dist_url distill_model
    distill_pretrained epochs epochs_cooldown eps experimental_meta_device force_distributed force_min_lr fsdp
    fsdp_amp fsdp_backward_prefetch fsdp_checkpoint fsdp_cpu_offload fsdp_hybrid fsdp_hybrid_o2
    fsdp_limit_all_gathers fsdp_pure_bf16 fsdp_use_orig_params global_batch_size global_val_batch_size
    grad_checkpointing grad_clip_norm hf_fsdp_block hf_model hf_seq_len ignore_parse_errors
    load_pretrained_state log_avg_model_training_loss log_every_n_steps log_local log_logit_mean logs lr
    lr_cooldown_end lr_cooldown_power lr_scheduler multiple_data_passes name no_set_device_rank optimizer
    precision preset_world_size pretrained remote_sync remote_sync_frequency remote_sync_protocol report_to
    resume save_frequency save_most_recent seed skip_scheduler squash_mask_left target_mask_individual
    target_mask_left torchcompile torchscript trace train_data train_data_mix_weights
    train_data_upsampling_factors train_num_samples use_bn_sync val_data val_data_key val_frequency val_iter_ci
    val_max_pop_ci val_num_samples val_seq_ci val_tok_ci wandb_notes wandb_project_name warmup wd workers
    z_loss_coefficient checkpoint_path failed_checkpoint_path log_level log_path per_gpu_batch_size
    per_gpu_val_batch_size save_logs shard_shuffle_seed tensorboard tensorboard_path wandb distributed rank
    local_rank world_size device moe_capacity_factor moe_expert_model_parallelism moe_freq moe_loss_weight
    moe_num_experts moe_top_k moe_weight_parallelism params params_args_dict model_type architectures auto_map
    tie_word_embeddings transformers_version torch_dtype dtype num_attention_heads num_hidden_layers hidden_size
""".split()  # noqa: SIM905 - 130 literals would be harder to read
"""open_lm's `params.py` and `main.py` (of 2024), without what Puna reads; and what transformers adds to its own
form. Of experts `moe_freq` decides, which is read. transformers' three sizes are names for open_lm's."""

_OF_A_DECODER = re.compile(
    r"(^|_)(attn|attention|causal|mask|window|rotary|rope|alibi|pos(itional)?|norm|ln|bias|ffn|mlp|act(ivation)?"
    r"|glu|gate|heads?|kv|qk|layers?|block|embed(ding)?s?|tied?|tying|logits?|softcap(ping)?|scal(e|ar|ing)"
    r"|mult(iplier)?|residual|parallel|moe|experts?|mamba|ssm|lora|adapter|quant(ized|ization)?|bnb|dim|width|depth)"
    r"(_|$)"
)


def refuse_of_a_decoder(file: Path, values: Mapping[str, Any], read: frozenset[str]) -> list[str]:
    """Refuse settings that are not known and speak of a part of the decoder.

    Args:
        file: Where they stand.
        values: What it says.
        read: Those that Puna reads.

    Returns:
        The other unknown settings.

    Raises:
        FormatError: There is such a setting, and it is not empty, off or none.
    """
    said = [name for name, value in values.items() if value not in (None, False, "", [], {}) and name[:1] != "_"]
    unknown = [name for name in said if name not in read and name not in _OF_TRAINING]
    for name in unknown:
        if _OF_A_DECODER.search(name):
            raise FormatError(
                f"{file}: has {name!r:.80} = {values[name]!r:.80}, which open_lm does not have, and which may change "
                "what the model computes",
                hint="if you know that it changes nothing, remove it from the file",
            )
    return unknown
