"""Describes a model in any format, in lines for people."""

from collections import Counter
from typing import Any

from puna.core.errors import shown
from puna.core.units import counted, format_bytes, format_count
from puna.formats.checkpoint import Checkpoint
from puna.formats.express import features
from puna.model.parts import is_update
from puna.plan.count import parameters
from puna.tokenizer.tokenizer import Tokenizer

_NAMED = 3
"""How many missing or extra tensors are named; the others are counted."""


def describe(checkpoint: Checkpoint, title: str, tokenizer: Tokenizer | None) -> list[str]:
    """Lines of a name and its value: format, architecture, sizes, weights, tokenizer, and problems."""
    config = checkpoint.config
    special = ", ".join(said for said in features(config).values()) or "as LLaMA 7B"
    lines = [
        ("format", f"{title}, {checkpoint.path}"),
        *([] if checkpoint.step is None else [("step", f"{checkpoint.step:,}")]),
        ("parameters", f"{parameters(config).total:,} ({format_count(parameters(config).total)})"),
        (
            "decoder",
            f"{config.n_layers} layers, width {config.dim}, {config.n_heads} heads of {config.head_dim}, "
            f"{config.n_kv_heads} key heads, feed-forward {config.ffn_dim}, {config.vocab_size:,} tokens, context "
            f"{config.context}",
        ),
        ("architecture", f"{special}; rope_theta {config.rope_theta:g}, norm_eps {config.norm_eps:g}"),
        ("weights", _weights(checkpoint)),
        ("tokenizer", _tokenizer(tokenizer)),
    ]
    if missing := missing_of(checkpoint):
        lines.append(("missing", _names(missing)))
    if extra := extra_of(checkpoint):
        lines.append(("not a LLaMA's", _names(extra)))
    lines += [("note", note) for note in _notes(checkpoint, tokenizer)]
    return [shown(f"{name:<14} {text}") for name, text in lines]


def as_dict(checkpoint: Checkpoint, form: str, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """The same for programs: `puna inspect --json`."""
    return {
        "format": form,
        "path": str(checkpoint.path),
        "step": checkpoint.step,
        "model": checkpoint.config.model_dump(exclude_none=True),
        "parameters": parameters(checkpoint.config).total,
        "tensors": {
            name: {
                "shape": list(checkpoint.weights[name].shape), "dtype": stored.dtype, "bytes": stored.n_bytes,
            }
            for name, stored in checkpoint.stored.items()
        },
        "base": checkpoint.base,
        "missing": missing_of(checkpoint),
        "extra": extra_of(checkpoint),
        "notes": _notes(checkpoint, tokenizer),
        "tokenizer": tokenizer
        and {
            "kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size, "bos_id": tokenizer.bos_id,
            "eos_id": tokenizer.eos_id, "stops": list(tokenizer.stops), "add_bos": tokenizer.add_bos,
            "sha256": tokenizer.sha256,
        },
    }  # fmt: skip


def missing_of(checkpoint: Checkpoint) -> list[str]:
    """Parameters of the decoder that the files lack; none where they are in the model that a run was tuned from."""
    return [] if checkpoint.base is not None else checkpoint.missing


def extra_of(checkpoint: Checkpoint) -> list[str]:
    """The files' tensors for which the decoder has no place, nor a run of tuning as updates."""
    return [name for name in checkpoint.extra if checkpoint.base is None or not is_update(name)]


def _weights(checkpoint: Checkpoint) -> str:
    if (base := checkpoint.base) is not None:
        updates = sum(is_update(name) for name in checkpoint.extra)
        return (
            f"only what learns: {counted(len(checkpoint.stored), 'whole tensor')} and {counted(updates, 'tensor')} of "
            f"updates; the other {counted(len(checkpoint.missing), 'tensor')} are those of {base}"
        )
    kinds = Counter(stored.dtype for stored in checkpoint.stored.values())
    total = sum(stored.n_bytes for stored in checkpoint.stored.values())
    return f"{len(checkpoint.stored)} tensors, {format_bytes(total)}: " + ", ".join(
        f"{count} {kind}" for kind, count in kinds.most_common()
    )


def _notes(checkpoint: Checkpoint, tokenizer: Tokenizer | None) -> list[str]:
    return checkpoint.notes + ([] if tokenizer is None else tokenizer.notes)


def _tokenizer(tokenizer: Tokenizer | None) -> str:
    if tokenizer is None:
        return "none found"
    bos = "BOS before every text" if tokenizer.add_bos else "no BOS before a text"
    ends = ", ".join(f"{tokenizer.piece(stop)} ({stop})" for stop in tokenizer.stops)
    return (
        f"{tokenizer.title}, {tokenizer.vocab_size:,} tokens, BOS {tokenizer.piece(tokenizer.bos_id)} "
        f"({tokenizer.bos_id}), EOS {ends}, {bos}"
    )


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} tensors: {', '.join(names[:_NAMED])}{more}"
