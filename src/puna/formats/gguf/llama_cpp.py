"""Compares a GGUF export with llama.cpp, where the package xllamacpp, which contains it, is installed."""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from puna.core.errors import ExportError
from puna.core.records import available_memory, cores
from puna.core.schema.export import OracleResults
from puna.core.units import format_bytes
from puna.formats.checkpoint import Checkpoint
from puna.formats.gguf.llama_server import LlamaServer, NotAnsweringError
from puna.formats.oracle import Difference, not_asked
from puna.formats.streamed import last_states, logits_by_row
from puna.tokenizer.agreement import battery_for
from puna.tokenizer.sentencepiece import SPACE
from puna.tokenizer.tokenizer import Tokenizer

_TOKENS = 17
"""Tokens; each but the first is one request with all tokens before it: the server gives one distribution per
request."""
_SKIPPED = ("\0", SPACE)
"""Characters that are text here but not in its server: it ends a text at NUL, and reads SentencePiece's space as a
space."""
_FORCED_BIAS = 1000.0


def ask_llama_cpp(written: Checkpoint, file: Path, tokenizer: Tokenizer | None) -> OracleResults:
    """Let llama.cpp run the file; compare its log probabilities with those of our decoder, and its token ids.

    Attention and its cache are in float32. Of matrices in F32 the two must agree; with others llama.cpp rounds the
    stream, too, and the difference is only reported.

    Raises:
        ExportError: It does not load, or a log probability or a token differs that should not.
    """
    if find_spec("xllamacpp") is None:
        return not_asked(
            "xllamacpp, which holds llama.cpp, is not installed, so no other implementation has run this file"
        )
    if tokenizer is None:
        return not_asked("llama.cpp runs no file without a tokenizer")
    needed = file.stat().st_size + (1 << 30)
    if (memory := available_memory()) is not None and memory < needed:
        return not_asked(f"llama.cpp would need {format_bytes(needed)} of memory and {format_bytes(memory)} are free")
    config = written.config
    count = min(_TOKENS, config.context)
    tokens_T = torch.randint(3, config.vocab_size, (count,), generator=torch.Generator().manual_seed(0))
    states_BTD = last_states(written, tokens_T[None], lambda done: None)
    ours_TV = next(logits_by_row(written, states_BTD))[1:].double().log_softmax(-1)
    try:
        with LlamaServer(file, context=count + 1, threads=cores()) as server:
            _compare_tokens(server, file.name, tokenizer)
            theirs_TV = _log_probabilities(server, tokens_T.tolist(), config.vocab_size, tokenizer.encode("a")[-1])
    except NotAnsweringError as error:
        return not_asked(str(error))
    if theirs_TV.isnan().any():
        raise ExportError(
            f"{file.name}: llama.cpp gives no probability to {int(theirs_TV.isnan().any(0).sum())} tokens"
        )
    difference = Difference(config, count)
    # Its server sums its softmax in float32, which moves a whole row of 32,000 tokens by 1e-4: not an error of logits.
    difference.add(ours_TV, theirs_TV.double().log_softmax(-1))
    exact = all(stored.dtype == "float32" for stored in written.stored.values())
    if exact and not difference.largest <= difference.allowed:
        raise ExportError(
            f"{file.name}: log probabilities differ by {difference.largest:.2e} from llama.cpp's, "
            f"{difference.allowed:.1e} is what rounding explains"
        )
    return OracleResults(
        oracle=f"llama.cpp (xllamacpp {version('xllamacpp')})",
        logits_max_abs_difference=difference.largest,
        logits_tolerance=difference.allowed if exact else None,
        logits_tokens=count - 1,
    )


def _compare_tokens(server: LlamaServer, name: str, tokenizer: Tokenizer) -> None:
    for text in battery_for(tokenizer, reads_control=False):
        if any(skipped in text for skipped in _SKIPPED):
            continue
        theirs = server.ask("tokenize", {"content": text, "add_special": True, "parse_special": False})["tokens"]
        ours = tokenizer.encode(text, bos=tokenizer.add_bos)
        # Bytes without a token are dropped, here before its neighbours are merged and there after it.
        same_text = any(byte in tokenizer.missing_bytes for byte in text.encode()) and (
            tokenizer.decode(theirs) == tokenizer.decode(ours)
        )
        if theirs != ours and not same_text:
            raise ExportError(f"{name}: llama.cpp writes {text!r:.80} with other ids")


def _log_probabilities(server: LlamaServer, tokens: list[int], vocab_size: int, forced: int) -> Tensor:
    """Log probabilities of the token after each prefix of two tokens or more, (prefixes, V).

    The next token is forced to be text, because the server lists no probabilities for parts of characters.
    """
    rows = torch.full((len(tokens) - 1, vocab_size), torch.nan)
    for row, end in enumerate(range(2, len(tokens) + 1)):
        answer = server.ask("completion", {
            "prompt": tokens[:end], "n_predict": 1, "n_probs": vocab_size, "cache_prompt": False,
            "logit_bias": [[forced, _FORCED_BIAS]],
        })  # fmt: skip
        (place,) = answer["completion_probabilities"]
        for entry in place["top_logprobs"]:
            rows[row, entry["id"]] = entry["logprob"]
    return rows
