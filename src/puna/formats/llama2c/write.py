"""llama2.c's model file and tokenizer file, written for its `run.c`."""

from pathlib import Path

import torch

from puna.config.recipe import ModelConfig
from puna.core.errors import ExportError
from puna.formats.checkpoint import Checkpoint
from puna.formats.express import check_expressible
from puna.formats.llama2c.read import HEADER, MODEL, NORM_EPS, ROPE_THETA, order
from puna.formats.rotary import to_neighbours
from puna.model.llama import rope_table
from puna.tokenizer.llama2c import FILE, write_tokenizer_bin
from puna.tokenizer.tokenizer import Tokenizer


def write_llama2c(source: Checkpoint, tokenizer: Tokenizer | None, directory: Path) -> None:
    """Write model.bin and, with a tokenizer, tokenizer.bin and the tokenizer.model that llama2.c's Python code reads.

    Args:
        source: The weights, all float32.
        tokenizer: Its tokenizer.
        directory: An empty directory.

    Raises:
        ExportError: The format or `run.c` cannot express the model or the tokenizer.
        OSError: The disk is full.
    """
    config = source.config
    check_expressible(config, "llama2.c's format", {"tie_embeddings", "n_kv_heads"})
    _check(source, config, tokenizer)
    with (directory / MODEL).open("wb") as file:
        vocab_size = config.vocab_size if config.tie_embeddings else -config.vocab_size
        file.write(
            HEADER.pack(
                config.dim, config.ffn_dim, config.n_layers, config.n_heads, config.n_kv_heads, vocab_size,
                config.context,
            )
        )  # fmt: skip
        for name in order(config):
            if name == "angles":
                tensors = rope_table(torch.arange(config.context), config.head_dim, ROPE_THETA)
            else:
                heads = source.weights[name].rotary_heads
                tensor = source.tensor(name)
                tensors = (to_neighbours(tensor, heads) if heads else tensor,)
            for tensor in tensors:
                file.write(tensor.detach().cpu().contiguous().numpy().data)
    if tokenizer is not None:
        write_tokenizer_bin(tokenizer, directory / FILE)
        (directory / tokenizer.file).write_bytes(tokenizer.content)


def _check(source: Checkpoint, config: ModelConfig, tokenizer: Tokenizer | None) -> None:
    for name, constant in (("norm_eps", NORM_EPS), ("rope_theta", ROPE_THETA)):
        if getattr(config, name) != constant:
            raise ExportError(
                f"the model has {name} = {getattr(config, name):g}, and llama2.c's run.c {constant:g} only"
            )
    if other := [name for name, stored in source.stored.items() if stored.dtype != "float32"]:
        raise ExportError(
            f"{other[0]} is {source.stored[other[0]].dtype}, and llama2.c's format holds float32 only",
            hint="convert the weights to float32, which changes no value",
        )
    if tokenizer is not None and tokenizer.vocab_size != config.vocab_size:
        raise ExportError(
            f"the tokenizer has {tokenizer.vocab_size} tokens and the model {config.vocab_size}; run.c wants as many "
            "embeddings as tokens"
        )
