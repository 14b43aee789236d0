"""Compares a Hugging Face export with transformers, an independent implementation, where it is installed."""

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from puna.core.console import libraries_muted
from puna.core.errors import ExportError
from puna.core.records import available_memory
from puna.core.schema.export import OracleResults
from puna.core.units import format_bytes
from puna.formats.checkpoint import Checkpoint
from puna.formats.oracle import Difference, not_asked
from puna.formats.streamed import last_states, logits_by_row
from puna.plan.count import parameters
from puna.tokenizer.agreement import battery_for
from puna.tokenizer.tokenizer import Tokenizer

_SEQUENCES, _LENGTH = 4, 64


def ask_transformers(source: Checkpoint, out: Path, tokenizer: Tokenizer | None) -> OracleResults:
    """Load the directory as a user would; compare its logits with ours in float32, and its token ids.

    Raises:
        ExportError: It does not load, or a logit or a token differs.
    """
    if find_spec("transformers") is None:
        return not_asked("transformers is not installed, so no other implementation has run this model")
    needed = 5 * parameters(source.config).total
    if (memory := available_memory()) is not None and memory < needed:
        return not_asked(
            f"transformers would need {format_bytes(needed)} of memory and {format_bytes(memory)} are free, so no "
            "other implementation has run this model"
        )
    with libraries_muted():
        import transformers
        from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with _quiet_transformers():
            theirs, info = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, output_loading_info=True)
    except Exception as error:
        raise ExportError(
            f"the hf files: transformers {transformers.__version__} does not load them: {error}"
        ) from error
    problems = [key for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]]
    if problems:
        raise ExportError(f"the hf files: transformers reports {', '.join(problems)}: {info[problems[0]]}")
    if tokenizer is not None:
        with _quiet_transformers():
            fast: Any = AutoTokenizer.from_pretrained(out)
            for text in battery_for(tokenizer, reads_control=True):
                if fast(text)["input_ids"] != tokenizer.encode(text, bos=tokenizer.add_bos):
                    raise ExportError(f"the hf files: transformers' tokenizer writes {text!r} with other ids")
    length = min(_LENGTH, source.config.context)
    generator = torch.Generator().manual_seed(0)
    tokens_BT = torch.randint(0, source.config.vocab_size, (_SEQUENCES, length), generator=generator)
    states_BTD = last_states(source, tokens_BT, lambda done: None)
    with torch.no_grad():
        difference = Difference(source.config, length)
        for ours_TV, theirs_TV in zip(logits_by_row(source, states_BTD), theirs.eval()(tokens_BT).logits, strict=True):
            difference.add(ours_TV, theirs_TV)
    if not difference.largest <= difference.allowed:
        raise ExportError(
            f"the hf files: logits differ by {difference.largest:.2e} from transformers', {difference.allowed:.1e} is "
            "what rounding explains"
        )
    return OracleResults(
        oracle=f"transformers {transformers.__version__}",
        logits_max_abs_difference=difference.largest,
        logits_tolerance=difference.allowed,
        logits_tokens=tokens_BT.numel(),
    )


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep its progress bars, and its and its libraries' remarks, out of the terminal."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with libraries_muted():
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
