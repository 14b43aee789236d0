"""The proof that an export is the same model: weights, tokens and, by an independent implementation, logits."""

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from puna.config.recipe import ModelConfig
from puna.core.errors import ExportError
from puna.export.names import huggingface_names
from puna.model.files import WEIGHTS, load_model
from puna.tokenizer.agreement import battery, check_agreement
from puna.tokenizer.tokenizer import Tokenizer

LOGITS_TOLERANCE = 1e-4
"""Largest difference of a logit in float32 that counts as equal: sums are taken in another order."""

_SEQUENCES, _LENGTH = 4, 64


def verify(model_dir: Path, out: Path, config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """Compare an export with the model it was made from; returns the figures of the proof.

    Raises:
        ExportError: A weight, a token or a logit differs.
    """
    tensors = _check_weights(model_dir, out, config)
    agreement = check_agreement(tokenizer, out / "tokenizer.json")
    if agreement["disagreements"]:
        first = agreement["disagreements"][0]
        raise ExportError(
            f"{out.name}: tokenizer.json differs from tokenizer.model on {len(agreement['disagreements'])} of "
            f"{agreement['strings']} strings, the first is {first['text']!r}"
        )
    result = {
        "tensors_identical": tensors,
        "tokenizer_strings_equal": agreement["strings"],
        "oracle": None,
        "logits_max_abs_difference": None,
    }
    if find_spec("transformers") is None:
        missing = "transformers is not installed, so no other implementation has run this model"
        return result | {"oracle_missing": missing}
    return result | _check_with_transformers(model_dir, out, config, tokenizer)


def _check_weights(model_dir: Path, out: Path, config: ModelConfig) -> int:
    """Every tensor read back, bit for bit; returns how many."""
    names = huggingface_names(config)
    left = dict.fromkeys(names.values())
    with safe_open(model_dir / WEIGHTS, framework="pt") as ours:
        of = {theirs: mine for mine, theirs in names.items()}
        for path in sorted(out.glob("*.safetensors")):
            with safe_open(path, framework="pt") as written:
                for name in written.keys():  # noqa: SIM118
                    if name not in left:
                        raise ExportError(f"{path.name}: {name} should not be there or is there twice")
                    del left[name]
                    a, b = ours.get_tensor(of[name]), written.get_tensor(name)
                    if a.dtype != b.dtype or not torch.equal(a.view(torch.uint8), b.view(torch.uint8)):
                        raise ExportError(f"{path.name}: {name} is not what the model has as {of[name]}")
    if left:
        raise ExportError(f"{out.name}: {len(left)} tensors were not written, the first is {next(iter(left))}")
    return len(names)


def _check_with_transformers(model_dir: Path, out: Path, config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """Load the directory as a user would; compare its logits with ours in float32, and its token ids."""
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _quiet_transformers():
        theirs, info = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, output_loading_info=True)
    problems = [key for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]]
    if problems:
        raise ExportError(f"{out.name}: transformers reports {', '.join(problems)}: {info[problems[0]]}")
    with _quiet_transformers():
        fast: Any = AutoTokenizer.from_pretrained(out)
        for text in battery():
            if fast(text)["input_ids"] != tokenizer.encode(text, bos=True):
                raise ExportError(f"{out.name}: transformers' tokenizer writes {text!r} with other ids")
    ours, _ = load_model(model_dir)
    length = min(_LENGTH, config.context)
    generator = torch.Generator().manual_seed(0)
    tokens_BT = torch.randint(0, config.vocab_size, (_SEQUENCES, length), generator=generator)
    with torch.no_grad():
        difference = (ours.float()(tokens_BT) - theirs.eval()(tokens_BT).logits).abs().max().item()
    if not difference <= LOGITS_TOLERANCE:
        raise ExportError(
            f"{out.name}: logits differ by {difference:.2e} from transformers', {LOGITS_TOLERANCE} is allowed"
        )
    return {
        "oracle": f"transformers {transformers.__version__}",
        "logits_max_abs_difference": difference,
        "logits_tolerance": LOGITS_TOLERANCE,
        "logits_tokens": tokens_BT.numel(),
    }


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep its progress bars, and its remarks on texts longer than the context, out of the user's terminal."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
