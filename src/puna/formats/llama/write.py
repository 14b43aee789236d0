"""Meta's original directory, written: model-parallel `.pth` files tensor by tensor, `params.json` and MD5 lists."""

import contextlib
import hashlib
import json
from pathlib import Path

from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import ExportError
from puna.formats.checkpoint import Checkpoint
from puna.formats.containers.pth import PthWriter
from puna.formats.express import check_expressible
from puna.formats.llama.params import SCALED_ROPE, params_of
from puna.formats.llama.read import CHECKLIST, PARAMS, TOKENIZER, TOKENIZER_CHECKLIST
from puna.formats.rotary import to_neighbours
from puna.formats.table import Weight
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.tiktoken import write_tiktoken
from puna.tokenizer.tokenizer import Tokenizer


def write_llama(source: Checkpoint, tokenizer: Tokenizer | None, directory: Path, *, model_parallel: int = 1) -> None:
    """Write a model as Meta's code loads it.

    Args:
        source: The weights; each keeps its dtype.
        tokenizer: Its tokenizer.
        directory: An empty directory.
        model_parallel: Number of files, and of the processes of Meta's code that will read them.

    Raises:
        ExportError: The format cannot express the model, or its sizes cannot be divided so.
        TokenizerError: Meta's code would read the tokenizer as another one.
        OSError: The disk is full.
    """
    config = source.config
    check_expressible(config, "Meta's original format", {"tie_embeddings", "n_kv_heads", "llama3 scaling"})
    _check(config, tokenizer, model_parallel)
    vocabulary = None if tokenizer is None else _vocabulary(tokenizer)
    llama3 = _is_llama3(config, tokenizer)
    sums = _write_weights(source, directory, model_parallel, by_rows=llama3)
    params = params_of(config, n_kv_heads=max(config.n_kv_heads, model_parallel), llama3=llama3)
    content = json.dumps(params) + "\n"
    (directory / PARAMS).write_text(content, encoding="utf-8")
    sums[PARAMS] = _md5(content.encode())
    _write_sums(directory / CHECKLIST, sums)
    if vocabulary is not None:
        (directory / TOKENIZER).write_bytes(vocabulary)
        _write_sums(directory / TOKENIZER_CHECKLIST, {TOKENIZER: _md5(vocabulary)})


def _check(config: ModelConfig, tokenizer: Tokenizer | None, files: int) -> None:
    if config.rope_scaling is not None and config.rope_scaling != SCALED_ROPE:
        raise ExportError(
            f"the model has rope_scaling {config.rope_scaling.model_dump()}, and Meta's original format can only say "
            f"use_scaled_rope, which is {SCALED_ROPE.model_dump()}"
        )
    if tokenizer is not None and tokenizer.vocab_size != config.vocab_size:
        raise ExportError(
            f"the tokenizer has {tokenizer.vocab_size} tokens and the model {config.vocab_size}; Meta's code wants as "
            "many embeddings as tokens"
        )
    if files < 1:
        raise ExportError(f"model_parallel is {files}, expected 1 or more files")
    for name in ("n_heads", "ffn_dim", "vocab_size"):
        if getattr(config, name) % files:
            raise ExportError(f"{name} = {getattr(config, name)} cannot be divided among {files} files")
    if config.n_kv_heads % files and files % config.n_kv_heads:
        raise ExportError(f"n_kv_heads = {config.n_kv_heads} can neither be divided among {files} files nor repeated")


def _vocabulary(tokenizer: Tokenizer) -> bytes:
    """The content of tokenizer.model: SentencePiece's, or LLaMA 3's list of ranks."""
    return write_tiktoken(tokenizer) if isinstance(tokenizer, ByteBPETokenizer) else tokenizer.content


def _is_llama3(config: ModelConfig, tokenizer: Tokenizer | None) -> bool:
    """Whether only the code of LLaMA 3 can run the model: its tokenizer is byte-level, or its angles are scaled.

    Tied layers need it too, since only there both are cut by rows and can share their bytes in a file.
    """
    return isinstance(tokenizer, ByteBPETokenizer) or config.rope_scaling is not None or config.tie_embeddings


def _write_weights(source: Checkpoint, directory: Path, files: int, *, by_rows: bool) -> dict[str, str]:
    """Write every parameter into all files at once, one in memory at a time; returns the files' MD5 by name."""
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(PthWriter(directory / f"consolidated.{number:02d}.pth", md5=True))
            for number in range(files)
        ]
        for name, weight in source.weights.items():
            for writer, part in zip(writers, _parts(source, weight, files, by_rows=by_rows), strict=True):
                writer.add(name, part)
        if source.config.tie_embeddings:
            for writer in writers:
                writer.add_again("output.weight", "tok_embeddings.weight")
    return {writer.path.name: writer.md5 for writer in writers}


def _parts(source: Checkpoint, weight: Weight, files: int, *, by_rows: bool) -> list[Tensor]:
    """The part of a parameter in each file; views where possible."""
    whole = source.tensor(weight.name)
    if weight.split is None:
        return [whole] * files
    if weight.rotary_heads:
        whole = to_neighbours(whole, weight.rotary_heads)
    heads = source.config.n_kv_heads
    if weight.name.endswith((".wk.weight", ".wv.weight")) and heads < files:
        return [whole.unflatten(0, (heads, -1))[number * heads // files] for number in range(files)]
    axis = 0 if by_rows and weight.name == "tok_embeddings.weight" else weight.split
    return list(whole.tensor_split(files, axis))


def _write_sums(path: Path, sums: dict[str, str]) -> None:
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), encoding="utf-8")


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
