"""The proof that an export is the same model: weights, tokens and outputs. The export is opened again for it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from puna.core.console import progress
from puna.core.schema.export import ExportOutputs, ExportResults, OracleResults
from puna.formats.checkpoint import Checkpoint
from puna.formats.oracle import not_asked
from puna.formats.proof.compare import compare_configs, compare_outputs, compare_weights
from puna.formats.proof.tokenizers import prove_tokenizers
from puna.tokenizer.tokenizer import Tokenizer

Oracle: TypeAlias = Callable[[Checkpoint, Path, Tokenizer | None], OracleResults]

_SEQUENCES, _LENGTH = 4, 256
"""Sequences and tokens to run: 1,024 tokens are enough to see a wrong weight, and little work for a large model."""
_NOTES = 3
"""How many notes are shown; the file has them all."""


@dataclass(frozen=True)
class Text:
    """A text to run both models on."""

    text: str
    origin: str
    """The origin of the text, for the report."""


def prove(
    source: Checkpoint, written: Checkpoint, directory: Path, tokenizer: Tokenizer | None, *, text: Text | None,
    oracle: Oracle | None,
) -> ExportResults:  # fmt: skip
    """Compare an export with the model that it was made from.

    Args:
        source: The model.
        written: The export, opened by the reader of its format.
        directory: The export's directory.
        tokenizer: The model's tokenizer.
        text: What both models are run on where their weights are not the same bits; None runs no model.
        oracle: Lets another implementation run the export, where one is known for its format.

    Returns:
        The figures of the proof; docs/formats/README.md explains them.

    Raises:
        ExportError: A field, a weight, a token or a logit differs that should not.
    """
    compare_configs(source, written)
    total = sum(source.like(name).nbytes for name in source.weights)
    with progress("compare the weights", total, "bytes") as advance:
        weights = compare_weights(source, written, advance)
    tokens = None if tokenizer is None else prove_tokenizers(tokenizer, written, directory)
    outputs = None
    if text is not None and weights.identical < weights.tensors:
        outputs = _run_both(source, written, tokenizer, text)
    if text is None:
        answer = not_asked("the models were not run (--quick)")
    elif oracle is None:
        answer = not_asked(f"Puna knows no other implementation that runs {written.format}")
    else:
        answer = oracle(written, directory, tokenizer)
    return ExportResults(
        format=written.format, weights=weights, outputs=outputs, tokenizer=tokens,
        **answer.model_dump(exclude_unset=True),
    )  # fmt: skip


def _run_both(source: Checkpoint, written: Checkpoint, tokenizer: Tokenizer | None, text: Text) -> ExportOutputs:
    tokens_BT, origin = _tokens(source, tokenizer, text)
    with progress("run both models", 2 * source.config.n_layers, "blocks") as advance:
        outputs = compare_outputs(source, written, tokens_BT, origin, advance)
    return outputs if tokenizer is not None else outputs.model_copy(update={"perplexity": None})


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


def summary(results: ExportResults) -> list[str]:
    """The figures of a proof in sentences."""
    weights, outputs, tokenizer = results.weights, results.outputs, results.tokenizer
    facts = [f"{weights.identical} of {weights.tensors} tensors read back bit for bit the same"]
    facts += [f"{count} exactly the model's rounded to {dtype}" for dtype, count in weights.converted.items()]
    facts += [
        f"{group.tensors} quantized to {kind}, {group.relative_rms_error:.2%} off (root mean square)"
        for kind, group in weights.quantized.items()
    ]
    lines = [] if results.step is None else [f"model: the checkpoint of step {results.step:,}"]
    lines.append("weights: " + ", ".join(facts))
    if tokenizer is not None:
        lines.append(f"tokens: the same ids for {tokenizer.strings} strings in {', '.join(tokenizer.forms)}")
    if outputs is not None:
        line = (
            f"outputs: logits differ by {outputs.max_abs_difference:.1e} at most, mean KL {outputs.mean_kl:.1e}, "
            f"same next token at {outputs.same_most_likely:.1%} of {outputs.tokens} positions"
        )
        if perplexity := outputs.perplexity:
            line += f"; perplexity {perplexity.source:.3f} -> {perplexity.written:.3f} ({outputs.text})"
        lines.append(line)
    if results.oracle is None:
        lines.append(f"no oracle: {results.oracle_missing}")
    else:
        rounds = "" if results.logits_tolerance else ", because it rounds what it computes with"
        lines.append(
            f"{results.oracle}: logits within {results.logits_max_abs_difference:.1e} of ours over "
            f"{results.logits_tokens} tokens{rounds}"
        )
    lines += [f"note: {note}" for note in results.notes[:_NOTES]]
    if len(results.notes) > _NOTES:
        lines.append(f"note: {len(results.notes) - _NOTES} more are in equivalence.json")
    return lines
