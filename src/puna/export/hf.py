"""A Hugging Face directory that `transformers` loads as LlamaForCausalLM, written tensor by tensor.

The directory appears only after `verify` has proved it equal to the model that it was made from.
"""

from pathlib import Path
from typing import Any

from safetensors import safe_open

from puna.config.recipe import ModelConfig
from puna.core.errors import ExportError
from puna.core.files import atomic_directory, sha256_file, write_json, write_text
from puna.core.records import Record, read_record
from puna.export.names import huggingface_names
from puna.export.verify import verify
from puna.model.count import parameters
from puna.model.files import CONFIG, TOKENIZER, WEIGHTS, check_files, read_config
from puna.model.safetensors import write_safetensors
from puna.tokenizer.huggingface import tokenizer_config, write_tokenizer_json
from puna.tokenizer.tokenizer import Tokenizer

SHARD_BYTES = 5_000_000_000
"""Bytes of weights per file at most, as Hugging Face's own files have them."""


def write_hf(model_dir: Path, out: Path, *, force: bool) -> None:
    """Write and prove the Hugging Face form of a model directory.

    Raises:
        CheckpointError: The model is damaged.
        ExportError: The model is not what LlamaForCausalLM computes, or what was written is not the same model;
            nothing stays.
        StorageError: `out` exists and `force` is false, or the disk is full.
    """
    check_files(model_dir)
    config = read_config(model_dir)
    _check_architecture(model_dir / CONFIG, config)
    tokenizer = Tokenizer.load(model_dir)
    record = Record("export-hf", config=config.model_dump())
    record.inputs = dict((read_record(model_dir / "record.json") or {})["outputs"])
    with atomic_directory(out, replace=force) as directory:
        dtype = _write_weights(model_dir / WEIGHTS, config, directory)
        write_json(directory / "config.json", huggingface_config(config, tokenizer, dtype))
        write_json(directory / "generation_config.json", _generation_config(tokenizer))
        write_tokenizer_json(tokenizer, directory / "tokenizer.json")
        write_json(directory / "tokenizer_config.json", tokenizer_config(tokenizer, config.context))
        (directory / TOKENIZER).write_bytes(tokenizer.model_bytes)
        write_text(directory / "README.md", _card(config, dtype))
        equivalence = verify(model_dir, directory, config, tokenizer)
        record.outputs = {path.name: sha256_file(path) for path in sorted(directory.iterdir())}
        record.results = equivalence
        write_json(directory / "equivalence.json", record.as_dict())
        sums = record.outputs | {"equivalence.json": sha256_file(directory / "equivalence.json")}
        write_text(directory / "SHA256SUMS", "".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def _check_architecture(path: Path, config: ModelConfig) -> None:
    """Refuse what has no place in LlamaForCausalLM, which has RMSNorm and no norms of queries and keys."""
    other = [f"norm = {config.norm!r}"] if config.norm != "rms" else []
    other += ["qk_norm = true"] if config.qk_norm else []
    if other:
        raise ExportError(
            f"{path}: has {' and '.join(other)}, but Hugging Face's LlamaForCausalLM computes norm = 'rms' and "
            "qk_norm = false only"
        )


def huggingface_config(config: ModelConfig, tokenizer: Tokenizer, dtype: str) -> dict[str, Any]:
    """The content of config.json, for transformers 5 (`rope_parameters`, `dtype`) and for older readers."""
    scaling = _rope_scaling(config)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.dim,
        "intermediate_size": config.ffn_dim,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "initializer_range": config.init_std,
        "rms_norm_eps": config.norm_eps,
        "rope_parameters": {"rope_theta": config.rope_theta, **(scaling or {"rope_type": "default"})},
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": None,
        "dtype": dtype,
        "torch_dtype": dtype,
        "use_cache": True,
    }


def _rope_scaling(config: ModelConfig) -> dict[str, Any] | None:
    rope_scaling = config.rope_scaling
    if rope_scaling is None:
        return None
    if rope_scaling.kind == "linear":
        return {"rope_type": "linear", "factor": rope_scaling.factor}
    return {
        "rope_type": "llama3",
        "factor": rope_scaling.factor,
        "low_freq_factor": rope_scaling.low_freq_factor,
        "high_freq_factor": rope_scaling.high_freq_factor,
        "original_max_position_embeddings": rope_scaling.original_context,
    }


def _generation_config(tokenizer: Tokenizer) -> dict[str, Any]:
    return {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}


def _write_weights(source: Path, config: ModelConfig, directory: Path) -> str:
    """Write all tensors in files of `SHARD_BYTES` at most, one tensor in memory at a time; returns their dtype."""
    names = huggingface_names(config)
    with safe_open(source, framework="pt") as weights:
        ours_of = {theirs: ours for ours, theirs in names.items()}
        sizes = {theirs: weights.get_tensor(ours).nbytes for theirs, ours in ours_of.items()}
        shards = _shards(sizes)
        weight_map = {}
        for number, shard in enumerate(shards, 1):
            name = "model.safetensors" if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            weight_map |= dict.fromkeys(shard, name)
            write_safetensors(directory / name, shard, lambda theirs: weights.get_tensor(ours_of[theirs]))
        dtype = str(weights.get_tensor("tok_embeddings.weight").dtype).removeprefix("torch.")
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
        write_json(directory / "model.safetensors.index.json", index)
    return dtype


def _shards(sizes: dict[str, int]) -> list[list[str]]:
    """Names in order, cut into files; a tensor that is larger than a file gets one of its own."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _card(config: ModelConfig, dtype: str) -> str:
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
A LLaMA-architecture model of {parameters(config).total:,} parameters ({config.n_layers} layers, width {config.dim}, \
{config.n_heads} heads, context {config.context}, {config.vocab_size:,} tokens, {dtype}), trained and exported by Puna.

- It was trained with a beginning-of-sequence token before every document; the tokenizer adds it.
- `equivalence.json` states how this directory was proved equal to the model that it was made from, and how that came to
  be; `SHA256SUMS` has the hash of every file.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
tokens = tokenizer("The people", return_tensors="pt")
print(tokenizer.decode(model.generate(**tokens, max_new_tokens=32)[0]))
```
"""
