"""Llama 3's tokenizer file, read and written: a line for each token, its bytes in base64 and its rank.

The file says neither how text is split nor which tokens are special. Both are in Meta's code that reads this file:
Llama 3's regular expression, and 256 special tokens after the others.
"""

import base64
import binascii
import re

from puna.core.errors import TokenizerError
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.byte_bpe_json import write_byte_bpe
from puna.tokenizer.byte_level import LLAMA3, letters
from puna.tokenizer.ends import Ends

_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n")
_LONGEST = 1024
"""Bytes of the longest token that is accepted: time grows with the square of its length."""
_SPECIAL = 256
_NAMED = {
    0: "<|begin_of_text|>", 1: "<|end_of_text|>", 4: "<|finetune_right_pad_id|>", 6: "<|start_header_id|>",
    7: "<|end_header_id|>", 8: "<|eom_id|>", 9: "<|eot_id|>", 10: "<|python_tag|>",
}  # fmt: skip


def is_tiktoken(content: bytes) -> bool:
    """Whether the file begins with a token in base64 and its rank."""
    return _LINE.match(content, 0, 1000) is not None


def read_tiktoken(content: bytes, origin: str) -> ByteBPETokenizer:
    """The tokenizer from a file of ranks.

    Raises:
        TokenizerError: It is damaged.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.splitlines(), 1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            wrong = f"line {number} is not a token in base64 and its rank: {line[:40]!r}"
            raise TokenizerError(f"{origin}: {wrong}") from None
        if len(token) > 2 * _LONGEST:
            raise TokenizerError(f"{origin}: line {number} has a token of {len(token)} letters, too many")
        if rank != str(number - 1).encode() or len(ranks) != number:
            raise TokenizerError(f"{origin}: line {number} has rank {rank.decode()}, or a token that was there before")
    pieces = [letters(token) for token in ranks] + special_names()
    special = range(len(ranks), len(pieces))
    ends = Ends(pieces[special[0]], pieces[special[1]], add_bos=True)
    tokenizer = ByteBPETokenizer(write_byte_bpe(pieces, _merges(ranks), LLAMA3, ends, special=special), origin)
    if missing := tokenizer.missing_bytes:
        raise TokenizerError(f"{origin}: lacks {len(missing)} of the bytes, which every file of this kind has")
    return tokenizer


def write_tiktoken(tokenizer: ByteBPETokenizer) -> bytes:
    """The content of the file that Meta's code reads as this tokenizer.

    Raises:
        TokenizerError: Meta's code would read it as another one.
    """
    n_tokens = tokenizer.vocab_size - _SPECIAL
    special = all(tokenizer.is_control(token) == (token >= n_tokens) for token in range(tokenizer.vocab_size))
    reasons = {
        "splits text in another way": (tokenizer.patterns, tokenizer.ignore_merges) != LLAMA3,
        "normalises text": tokenizer.normalizes,
        "has ordinary tokens beside its merges": bool(tokenizer.added),
        "has other special tokens": not special or (tokenizer.bos_id, tokenizer.eos_id) != (n_tokens, n_tokens + 1),
    }
    ranks = {token: rank for rank, token in enumerate(tokenizer.token_bytes()[: max(0, n_tokens)])}
    if not any(reasons.values()):
        reasons["has other merges than its ranks make"] = len(ranks) != n_tokens or (
            sorted(_merges(ranks)) != sorted(tokenizer.merges)
        )
    if reason := next((reason for reason, holds in reasons.items() if holds), None):
        raise TokenizerError(f"{tokenizer.origin}: cannot be written as a file of Llama 3's tokenizer: it {reason}")
    return b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in ranks.items())


def special_names() -> list[str]:
    """The special tokens by their names in Llama 3.1; those that Llama 3 names differently are reserved there."""
    others = (f"<|reserved_special_token_{number}|>" for number in range(_SPECIAL))
    return [_NAMED.get(place) or next(others) for place in range(_SPECIAL)]


def _merges(ranks: dict[bytes, int]) -> list[tuple[str, str]]:
    """Every way to join two tokens into a third: tiktoken merges the pair whose union has the lowest rank."""
    merges = []
    for token, rank in ranks.items():
        for cut in range(1, len(token)):
            left, right = ranks.get(token[:cut]), ranks.get(token[cut:])
            if left is not None and right is not None:
                merges.append((rank, left, right))
    merges.sort()
    pieces = [letters(token) for token in ranks]
    return [(pieces[left], pieces[right]) for _, left, right in merges]
