"""A checkpoint that open_lm loads: `epoch_0.pt`, and the model configuration that its `--model` takes."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import ExportError
from puna.core.files import write_json
from puna.formats.checkpoint import Checkpoint
from puna.formats.containers.pth import PthWriter
from puna.formats.express import check_expressible
from puna.formats.openlm.config import NORM_EPS, NORMS, ROPE_THETA, feed_forward_dim
from puna.formats.table import Weight
from puna.tokenizer.tokenizer import Tokenizer

CHECKPOINT, MODEL = "epoch_0.pt", "open_lm.json"


def _epoch(tensors: dict[str, Any]) -> dict[str, Any]:
    """What open_lm's training saves with the weights, and expects there."""
    return {"epoch": 0, "name": "puna", "state_dict": tensors, "evaluation_metrics": []}


def write_openlm(source: Checkpoint, tokenizer: Tokenizer | None, directory: Path) -> None:
    """Write a checkpoint as open_lm's training saves one, with the model configuration beside it.

    Args:
        source: The weights; each keeps its dtype.
        tokenizer: Its tokenizer, written in its own form; open_lm itself has no place for one.
        directory: An empty directory.

    Raises:
        ExportError: open_lm cannot make this decoder.
        OSError: The disk is full.
    """
    config = source.config
    _check_expressible(config)
    joined: dict[str, list[Weight]] = {}
    for weight in source.weights.values():
        joined.setdefault(weight.openlm, []).append(weight)
    for name, parts in joined.items():
        dtypes = {source.stored[part.name].dtype for part in parts}
        if len(dtypes) > 1:
            raise ExportError(f"open_lm joins {name}, whose parts have several dtypes ({', '.join(sorted(dtypes))})")
    with PthWriter(directory / CHECKPOINT, around=_epoch) as file:
        for name, parts in joined.items():
            tensors = [source.tensor(part.name) for part in parts]
            file.add(name, tensors[0] if len(tensors) == 1 else torch.cat(tensors))
        for layer in range(config.n_layers):
            file.add(f"layers.{layer}.attention.pos_embed.inv_freq", _frequencies(config.head_dim))
        if config.tie_embeddings:
            file.add_again("output.weight", "tok_embeddings.weight")
    write_json(directory / MODEL, _model(config))
    if tokenizer is not None:
        (directory / tokenizer.file).write_bytes(tokenizer.content)


def _check_expressible(config: ModelConfig) -> None:
    """Refuse sizes that open_lm has no setting for: it derives them from the width and the number of heads."""
    check_expressible(config, "open_lm", {"norm", "qk_norm", "rotary", "head_dim", "tie_embeddings"})
    fixed = {
        "head_dim": config.dim // config.n_heads,
        "ffn_dim": feed_forward_dim(config.dim),
        "norm_eps": NORM_EPS,
        "rope_theta": ROPE_THETA,
    }
    if config.rotary == "head":
        del fixed["rope_theta"]
    found = {name: getattr(config, name) for name in fixed}
    if other := [f"{name} = {found[name]} (it has {fixed[name]})" for name in fixed if found[name] != fixed[name]]:
        raise ExportError(f"the model has {' and '.join(other)}, which open_lm cannot express")


def _frequencies(head_dim: int) -> Tensor:
    """The buffer that open_lm's models save with their weights."""
    return 1.0 / ROPE_THETA ** (torch.arange(0, head_dim, 2).float() / head_dim)


def _model(config: ModelConfig) -> dict[str, int | bool | str]:
    """A file of open_lm's model_configs, with settings that otherwise come from its arguments."""
    return {
        "hidden_dim": config.dim,
        "n_layers": config.n_layers,
        "n_heads": config.n_heads,
        "seq_len": config.context,
        "vocab_size": config.vocab_size,
        "post_embed_norm": False,
        "weight_tying": config.tie_embeddings,
        "model_norm": next(theirs for theirs, ours in NORMS.items() if ours == config.norm),
        "qk_norm": config.qk_norm,
        "positional_embedding_type": "head_rotary" if config.rotary == "head" else "rotary",
        "ffn_type": "swiglu_torch",
    }
