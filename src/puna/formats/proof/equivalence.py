"""The proof that an export is the same model: weights, tokens, and what it says. The export is opened anew for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from puna.core.console import progress
from puna.formats.checkpoint import Checkpoint
from puna.formats.gguf.files import gguf_file
from puna.formats.proof.compare import compare_configs, compare_outputs, compare_weights
from puna.formats.proof.llama_cpp import ask_llama_cpp
from puna.formats.proof.tokenizers import prove_tokenizers
from puna.formats.proof.transformers import absent, ask_transformers
from puna.tokenizer.tokenizer import Tokenizer

_SEQUENCES, _LENGTH = 4, 256
"""What the models are run on: 1,024 tokens are enough to see a wrong weight, and little work for a large model."""
_NOTES = 3
"""Notes that are shown; the file has them all."""


@dataclass(frozen=True)
class Text:
    """A text to run both models on."""

    text: str
    origin: str
    """Where it comes from, for the report."""


def prove(
    source: Checkpoint, written: Checkpoint, directory: Path, tokenizer: Tokenizer | None, *, run: bool, text: Text
) -> dict[str, Any]:
    """Compare an export with the model that it was made from.

    Args:
        source: The model.
        written: The export, opened by the reader of its format.
        directory: The export's directory.
        tokenizer: The model's tokenizer.
        run: Whether the models are run, too, where weights are not the same bits; and by another implementation.
        text: What to run them on.

    Returns:
        The figures of the proof; docs/formats/README.md explains them.

    Raises:
        ExportError: A field, a weight, a token or a logit differs that should not.
    """
    compare_configs(source, written)
    total = sum(source.like(name).nbytes for name in source.weights)
    with progress("compare the weights", total, "bytes") as advance:
        weights = compare_weights(source, written, advance)
    results: dict[str, Any] = {"format": written.format, "weights": weights, "outputs": None}
    results["tokenizer"] = None if tokenizer is None else prove_tokenizers(tokenizer, written, directory)
    if not run:
        return results | absent("the models were not run (--quick)")
    if weights["identical"] < weights["tensors"]:
        tokens_BT, origin = _tokens(source, tokenizer, text)
        with progress("run both models", 2 * source.config.n_layers, "blocks") as advance:
            outputs = compare_outputs(source, written, tokens_BT, advance) | {"text": origin}
        if tokenizer is None:  # of random tokens it says nothing
            outputs["perplexity"] = None
        results["outputs"] = outputs
    if written.format == "hf":
        return results | ask_transformers(written, directory, tokenizer)
    if written.format == "gguf":
        return results | ask_llama_cpp(written, gguf_file(directory), tokenizer)
    return results | absent("another implementation runs exports to hf and gguf only")


def _tokens(source: Checkpoint, tokenizer: Tokenizer | None, text: Text) -> tuple[Tensor, str]:
    """Sequences of the text, each with BOS; random ids where there is no tokenizer."""
    length = min(_LENGTH, source.config.context)
    if tokenizer is None:
        generator = torch.Generator().manual_seed(0)
        return torch.randint(0, source.config.vocab_size, (_SEQUENCES, length), generator=generator), "random tokens"
    ids = tokenizer.encode(text.text)[: _SEQUENCES * (length - 1)]
    rows = [ids[at : at + length - 1] for at in range(0, len(ids), length - 1)]
    whole = [row for row in rows if len(row) == length - 1] or rows[:1]
    return torch.tensor([[tokenizer.bos_id, *row] for row in whole]), text.origin


def summary(results: dict[str, Any]) -> list[str]:
    """The figures of a proof in sentences."""
    weights, outputs, tokenizer = results["weights"], results["outputs"], results["tokenizer"]
    said = [f"{weights['identical']} of {weights['tensors']} tensors read back bit for bit the same"]
    said += [f"{count} exactly the model's rounded to {dtype}" for dtype, count in weights["converted"].items()]
    said += [
        f"{group['tensors']} quantized to {kind}, {group['relative_rms_error']:.2%} off (root mean square)"
        for kind, group in weights["quantized"].items()
    ]
    lines = ["weights: " + ", ".join(said)]
    if tokenizer is not None:
        lines.append(f"tokens: the same ids for {tokenizer['strings']} strings in {', '.join(tokenizer['forms'])}")
    if outputs is not None:
        line = (
            f"outputs: logits differ by {outputs['max_abs_difference']:.1e} at most, mean KL {outputs['mean_kl']:.1e}, "
            f"same next token at {outputs['same_most_likely']:.1%} of {outputs['tokens']} positions"
        )
        if perplexity := outputs["perplexity"]:
            line += f"; perplexity {perplexity['source']:.3f} -> {perplexity['written']:.3f} ({outputs['text']})"
        lines.append(line)
    if results["oracle"] is None:
        lines.append(f"no oracle: {results['oracle_missing']}")
    else:
        rounds = "" if results["logits_tolerance"] else ", because it rounds what it computes with"
        lines.append(
            f"{results['oracle']}: logits within {results['logits_max_abs_difference']:.1e} of ours over "
            f"{results['logits_tokens']} tokens{rounds}"
        )
    notes = results.get("notes", [])
    lines += [f"note: {note}" for note in notes[:_NOTES]]
    if len(notes) > _NOTES:
        lines.append(f"note: {len(notes) - _NOTES} more are in equivalence.json")
    return lines
