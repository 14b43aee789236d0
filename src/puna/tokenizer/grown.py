"""A tokenizer with further control tokens, behind its last one, and with further tokens at which generating ends.

A template for conversations writes tokens such as `<|im_start|>`, which a tokenizer for texts has not. Added to it they
are control tokens like `</s>`: no text becomes one, and every form of the tokenizer has them.
"""

import json
from collections.abc import Sequence
from typing import Any

from puna.core.errors import TokenizerError
from puna.tokenizer.added import AddedToken, Beside
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.sentencepiece_added import extended
from puna.tokenizer.tokenizer import Tokenizer


def grown(tokenizer: Tokenizer, controls: Sequence[str], *, ends: Sequence[str] = ()) -> Tokenizer:
    """The tokenizer with these control tokens, or itself if it has them all.

    Args:
        tokenizer: It stays as it is: the ids of its tokens, and those of all texts.
        controls: Texts of control tokens; those that it has keep their ids.
        ends: Texts of its or the new tokens at which generating ends, besides those at which it ends already.

    Raises:
        TokenizerError: One of them is an ordinary piece of the vocabulary, or an end is not a token.
    """
    known = {tokenizer.piece(token): token for token in range(tokenizer.vocab_size)}
    usable = {piece for piece, token in known.items() if tokenizer.is_control(token)} | tokenizer.added.keys()
    if taken := [text for text in controls if text in known and text not in usable]:
        raise TokenizerError(f"{tokenizer.origin}: has {taken[0]!r:.80} as a piece of text, so it cannot structure one")
    new = [text for text in dict.fromkeys(controls) if text not in known]
    ids = known | {text: tokenizer.vocab_size + at for at, text in enumerate(new)}
    if unknown := [text for text in ends if text not in ids]:
        raise TokenizerError(f"{tokenizer.origin}: has no token {unknown[0]!r:.80}, at which generating should end")
    stops = list(dict.fromkeys([*tokenizer.stops, *(ids[text] for text in ends)]))
    if not new and stops == list(tokenizer.stops):
        return tokenizer
    added = {ids[text]: AddedToken(text, special=True) for text in new}
    if isinstance(tokenizer, SentencePieceTokenizer):
        return extended(tokenizer, Beside(added), stops)
    if isinstance(tokenizer, ByteBPETokenizer):
        return _byte_bpe(tokenizer, added, [piece for stop in stops for piece in ids if ids[piece] == stop])
    raise TypeError(type(tokenizer))


def _byte_bpe(tokenizer: ByteBPETokenizer, added: dict[int, AddedToken], stops: list[str]) -> ByteBPETokenizer:
    data: dict[str, Any] = json.loads(tokenizer.content)
    data["added_tokens"] = (data.get("added_tokens") or []) + [
        {
            "id": token, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True,
        }
        for token, (text, *_) in added.items()
    ]  # fmt: skip
    ends = {
        "bos_token": tokenizer.piece(tokenizer.bos_id), "eos_token": stops[0], "add_bos_token": tokenizer.add_bos,
        "stop_tokens": stops[1:],
    }  # fmt: skip
    content = (json.dumps(data, ensure_ascii=False) + "\n").encode()
    return ByteBPETokenizer(content, tokenizer.origin, ends)
