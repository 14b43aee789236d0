"""Write a Hugging Face directory that `transformers` loads as LlamaForCausalLM, tensor by tensor."""

from collections import Counter
from pathlib import Path

from puna.config.recipe import ModelConfig
from puna.core.files import write_json, write_text
from puna.formats.checkpoint import Checkpoint
from puna.formats.containers.safetensors import INDEX, WEIGHTS
from puna.formats.hf.config import CONFIG, check_huggingface, huggingface_config
from puna.model.safetensors import write_safetensors
from puna.plan.count import parameters
from puna.tokenizer.chat_template import CHAT_TEMPLATE
from puna.tokenizer.huggingface import tokenizer_config, write_tokenizer_json
from puna.tokenizer.tokenizer import Tokenizer

SHARD_BYTES = 5_000_000_000
"""Bytes of weights per file at most, as in Hugging Face's own files."""

_EXAMPLE = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
tokens = tokenizer("The people", return_tensors="pt")
print(tokenizer.decode(model.generate(**tokens, max_new_tokens=32)[0]))
"""

_EXAMPLE_WITHOUT_TOKENIZER = """\
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(".")
"""


def write_hf(source: Checkpoint, tokenizer: Tokenizer | None, directory: Path) -> None:
    """Write config.json, the weights, the tokenizer in all its forms and a model card.

    Args:
        source: The model; weights keep their dtypes.
        tokenizer: Its tokenizer; without one no file of a tokenizer is written, and config.json names no tokens.
        directory: An empty directory.

    Raises:
        ExportError: The model is not what LlamaForCausalLM computes.
        TokenizerError: The tokenizer has no equal tokenizer.json.
        FormatError: The source is damaged.
        OSError: The disk is full.
    """
    check_huggingface(source.config)
    dtype = _common_dtype(source)
    bos_id, eos_id = (None, None) if tokenizer is None else (tokenizer.bos_id, _eos_id(tokenizer))
    write_json(directory / CONFIG, huggingface_config(source.config, dtype, bos_id, eos_id))
    write_json(directory / "generation_config.json", {"bos_token_id": bos_id, "eos_token_id": eos_id})
    if tokenizer is not None:
        (directory / tokenizer.file).write_bytes(tokenizer.content)
        if tokenizer.file != "tokenizer.json":
            write_tokenizer_json(tokenizer, directory / "tokenizer.json")
        write_json(directory / "tokenizer_config.json", tokenizer_config(tokenizer, source.config.context))
    if source.chat_template is not None:
        write_text(directory / CHAT_TEMPLATE, source.chat_template)
    write_text(directory / "README.md", _card(source.config, dtype, tokenizer))
    _write_weights(source, directory)


def _eos_id(tokenizer: Tokenizer) -> int | list[int]:
    """A number as transformers writes it for most models, a list where generating ends at several tokens."""
    return tokenizer.eos_id if len(tokenizer.stops) == 1 else list(tokenizer.stops)


def _common_dtype(source: Checkpoint) -> str:
    """The dtype that most of the weights have, which transformers then gives to all of them."""
    bytes_of: Counter[str] = Counter()
    for name in source.weights:
        like = source.like(name)
        bytes_of[str(like.dtype).removeprefix("torch.")] += like.numel()
    return bytes_of.most_common(1)[0][0]


def _write_weights(source: Checkpoint, directory: Path) -> None:
    """Write all tensors in files of `SHARD_BYTES` at most, and an index where there are several."""
    ours_of = {weight.hf: name for name, weight in source.weights.items()}
    likes = {theirs: source.like(ours) for theirs, ours in ours_of.items()}
    sizes = {theirs: like.nbytes for theirs, like in likes.items()}
    shards = _shards(sizes)
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file = WEIGHTS if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        weight_map |= dict.fromkeys(shard, file)
        write_safetensors(
            directory / file, {name: likes[name] for name in shard}, lambda theirs: source.tensor(ours_of[theirs])
        )
    if len(shards) > 1:
        write_json(directory / INDEX, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map})


def _shards(sizes: dict[str, int]) -> list[list[str]]:
    """Names in order, divided into files; a tensor larger than `SHARD_BYTES` gets a file of its own."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _card(config: ModelConfig, dtype: str, tokenizer: Tokenizer | None) -> str:
    bos = ""
    if tokenizer is not None and tokenizer.add_bos:
        bos = "- Every text begins with the beginning-of-sequence token; the tokenizer adds it.\n"
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
A LLaMA-architecture model of {parameters(config).total:,} parameters ({config.n_layers} layers, width {config.dim}, \
{config.n_heads} heads, context {config.context}, {config.vocab_size:,} tokens, {dtype}), written by Puna.

{bos}- `equivalence.json` states how this directory was proved equal to the model that it was made from, and how that \
came to be; `SHA256SUMS` has the hash of every file.

```python
{_EXAMPLE if tokenizer is not None else _EXAMPLE_WITHOUT_TOKENIZER}```
"""
