"""A tokenizer in the `tokenizer.ggml.*` keys of a GGUF file, read and written.

llama.cpp has two kinds that LLaMA models use: `llama`, SentencePiece's BPE with its scores, and `gpt2`, byte-level BPE
with its merges, whose way to split text has a name (`pre`).
"""

from typing import Any

from puna.core.errors import TokenizerError
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.byte_bpe_json import write_byte_bpe
from puna.tokenizer.byte_level import LLAMA3, SPLITS, Split
from puna.tokenizer.ends import Ends
from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.sentencepiece_model import (
    BPE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Extras,
    Piece,
    add_no_bos,
    write_model,
)
from puna.tokenizer.tokenizer import Tokenizer

_KEY = "tokenizer.ggml."
_STOPS = ("eot_token_id", "eom_token_id")
"""llama.cpp's keys for further tokens at which generating ends: of a turn, and of a message."""
_PADDING_SCORE = -1000.0
_LARGEST_SCORE = 3e38


def read_gguf_tokenizer(metadata: dict[str, Any], origin: str) -> Tokenizer | None:
    """The tokenizer in a GGUF file's metadata; None where it has none.

    Raises:
        TokenizerError: It is damaged, or of a kind that Puna does not know.
    """
    keys = {key.removeprefix(_KEY): value for key, value in metadata.items() if key.startswith(_KEY)}
    model = keys.get("model", "none")
    if model in ("none", "no_vocab"):
        return None
    if model not in ("llama", "gpt2"):
        raise TokenizerError(f"{origin}: has a tokenizer of the kind {model!r}, Puna reads 'llama' and 'gpt2'")
    vocabulary = _Vocabulary(keys, origin)
    return vocabulary.sentencepiece() if model == "llama" else vocabulary.byte_bpe()


def gguf_metadata(tokenizer: Tokenizer, vocab_size: int) -> dict[str, Any]:
    """The keys that give llama.cpp the same tokenizer.

    Args:
        tokenizer: The tokenizer to write.
        vocab_size: The model's rows; rows without an id become unused tokens called `[PAD50277]` and so on.

    Raises:
        TokenizerError: llama.cpp has no such tokenizer.
    """
    if isinstance(tokenizer, SentencePieceTokenizer):
        keys = _sentencepiece_keys(tokenizer)
    elif isinstance(tokenizer, ByteBPETokenizer):
        keys = _byte_bpe_keys(tokenizer)
    else:
        raise TypeError(type(tokenizer))
    missing = range(tokenizer.vocab_size, vocab_size)
    keys["tokens"] += [f"[PAD{token}]" for token in missing]
    keys["token_type"] += [UNUSED] * len(missing)
    if "scores" in keys:
        keys["scores"] += [_PADDING_SCORE] * len(missing)
    keys |= {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        **dict(zip(_STOPS, tokenizer.stops[1:], strict=False)),
        "add_bos_token": tokenizer.add_bos,
        "add_eos_token": False,
        "add_space_prefix": tokenizer.space_prefix,
    }
    return {_KEY + name: value for name, value in keys.items()}


def _sentencepiece_keys(tokenizer: SentencePieceTokenizer) -> dict[str, Any]:
    if tokenizer.model_type != BPE or not tokenizer.has_bytes:
        what = "without pieces for bytes" if tokenizer.model_type == BPE else "model"
        raise TokenizerError(
            f"{tokenizer.origin}: is a {tokenizer.title} {what}, and llama.cpp's kind is a BPE with all bytes",
            hint="`--to llama` writes its tokenizer.model as it is",
        )
    if not tokenizer.lossless:
        raise TokenizerError(
            f"{tokenizer.origin}: changes spaces or characters before it encodes, which llama.cpp's kind does not"
        )
    if tokenizer.added and tokenizer.space_prefix and not tokenizer.prefix_each:
        raise TokenizerError(
            f"{tokenizer.origin}: has user-defined pieces such as {min(tokenizer.added)!r:.80}, and llama.cpp would "
            "put a space behind each in a text, so that it would get other ids there"
        )
    return {
        "model": "llama",
        "pre": "default",
        "tokens": [piece.text for piece in tokenizer.pieces],
        "scores": [piece.score for piece in tokenizer.pieces],
        "token_type": [piece.kind for piece in tokenizer.pieces],
        **({} if tokenizer.unk_id is None else {"unknown_token_id": tokenizer.unk_id}),
    }


def _byte_bpe_keys(tokenizer: ByteBPETokenizer) -> dict[str, Any]:
    if tokenizer.normalizes:
        raise TokenizerError(
            f"{tokenizer.origin}: composes characters (NFC) before it encodes, which llama.cpp does not, so that some "
            "texts would get other ids there"
        )
    split = None if tokenizer.patterns is None else Split(tokenizer.patterns, tokenizer.ignore_merges)
    name = next((name for name, known in SPLITS.items() if known == split), None)
    if name is None:
        raise TokenizerError(
            f"{tokenizer.origin}: splits text by {tokenizer.patterns}, for which llama.cpp has no name that Puna knows"
        )
    added = set(tokenizer.added.values())
    return {
        "model": "gpt2",
        "pre": name,
        "tokens": [tokenizer.piece(token) for token in range(tokenizer.vocab_size)],
        "token_type": [
            CONTROL if tokenizer.is_control(token) else USER_DEFINED if token in added else NORMAL
            for token in range(tokenizer.vocab_size)
        ],
        "merges": [" ".join(pair) for pair in tokenizer.merges],
    }


class _Vocabulary:
    """The keys of one file, checked; trailing tokens that only fill the model's rows are left out."""

    def __init__(self, keys: dict[str, Any], origin: str) -> None:
        self._keys = keys
        self._origin = origin
        self.tokens: list[str] = self._list("tokens", str)
        self.types: list[int] = self._list("token_type", int, [NORMAL] * len(self.tokens))
        if len(self.types) != len(self.tokens):
            raise self._error(f"has {len(self.tokens)} tokens and {len(self.types)} types")
        while self.tokens and self.tokens[-1] == f"[PAD{len(self.tokens) - 1}]":
            self.tokens.pop()
            self.types.pop()
        if len(set(self.tokens)) != len(self.tokens):
            raise self._error("has a token twice")

    def sentencepiece(self) -> Tokenizer:
        scores = self._list("scores", (float, int))
        if len(scores) < len(self.tokens):
            raise self._error(f"has {len(self.tokens)} tokens and {len(scores)} scores")
        if wrong := [score for score in scores if not abs(score) <= _LARGEST_SCORE]:
            raise self._error(f"has the score {wrong[0]:g}, expected a number that float32 holds")
        prefix = self._keys.get("add_space_prefix", True)
        if self._keys.get("remove_extra_whitespaces", False) or not isinstance(prefix, bool):
            raise self._error("merges spaces, or has an add_space_prefix that is neither true nor false")
        unk, bos, eos = self._token("unknown", 0), self._token("bos", 1), self._token("eos", 2)
        pieces = [Piece(*entry) for entry in zip(self.tokens, scores, self.types, strict=False)]
        if not any(piece.kind == UNKNOWN for piece in pieces) and unk not in (bos, eos):
            pieces = [piece._replace(kind=UNKNOWN) if piece.text == unk else piece for piece in pieces]
        # llama.cpp puts a dummy prefix before each stretch of text between such tokens.
        each = prefix and any(piece.kind == USER_DEFINED for piece in pieces)
        stops = tuple(self.tokens.index(stop) for stop in self._stops(eos))
        extras = Extras(prefix_each=each, stops=stops)
        model = write_model(pieces, unk=unk, bos=bos, eos=eos, space_prefix=prefix, extras=extras)
        return SentencePieceTokenizer(model if self._add_bos(True) else add_no_bos(model), self._origin)

    def byte_bpe(self) -> Tokenizer:
        name = self._keys.get("pre", "default")
        split = SPLITS.get(name) if isinstance(name, str) else None
        if split is None:
            raise self._error(f"splits text in the way {name!r}, Puna knows {', '.join(SPLITS)}")
        if self._keys.get("add_space_prefix", False):
            raise self._error("puts a space before texts, which byte-level BPE does not")
        merges = []
        for merge in self._list("merges", str):
            left, _, right = merge.partition(" ")
            merges.append((left, right))
        eos = self._token("eos", None)
        # Files of models that begin no text leave BOS out.
        bos = eos if self._keys.get("bos_token_id") is None else self._token("bos", None)
        ends = Ends(bos, eos, self._add_bos(split == LLAMA3 and "bos_token_id" in self._keys), self._stops(eos))
        special = {token for token, kind in enumerate(self.types) if kind in (UNKNOWN, CONTROL, UNUSED)}
        added = {token for token, kind in enumerate(self.types) if kind == USER_DEFINED}
        content = write_byte_bpe(self.tokens, merges, split, ends, special=special, added=added)
        return ByteBPETokenizer(content, self._origin)

    def _stops(self, eos: str) -> tuple[str, ...]:
        """Further tokens at which generating ends; ids that are not tokens are passed over, as llama.cpp does."""
        ids = [self._keys.get(name) for name in _STOPS]
        found = [self.tokens[token] for token in ids if type(token) is int and 0 <= token < len(self.tokens)]
        return tuple(dict.fromkeys(stop for stop in found if stop != eos))

    def _add_bos(self, default: bool) -> bool:
        value = self._keys.get("add_bos_token", default)
        if not isinstance(value, bool):
            raise self._error(f"has add_bos_token = {value!r}, expected true or false")
        return value

    def _token(self, name: str, default: int | None) -> str:
        token = self._keys.get(f"{name}_token_id", default)
        if type(token) is not int or not 0 <= token < len(self.tokens):
            raise self._error(f"has {name}_token_id = {token!r}, expected an id below {len(self.tokens)}")
        return self.tokens[token]

    def _list(self, name: str, of: type | tuple[type, ...], default: list[Any] | None = None) -> list[Any]:
        values = self._keys.get(name, default)
        if not isinstance(values, list) or not all(isinstance(value, of) for value in values):
            raise self._error(f"has no list {_KEY}{name} of the right type")
        return list(values)

    def _error(self, what: str) -> TokenizerError:
        return TokenizerError(f"{self._origin}: its tokenizer {what}")
