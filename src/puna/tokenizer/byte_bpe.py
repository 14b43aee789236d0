"""Byte-level BPE: GPT-NeoX's, SmolLM's, Llama 3's and those that Puna trains, from Hugging Face's `tokenizer.json`.

Every text comes back as it was, except that some vocabularies, GPT-NeoX's among them, compose characters (NFC) first,
and that some, like SmolLM's, have no token for a few control bytes: such bytes are dropped, and a note says which.
Ordinary tokens that were added to a vocabulary beside its merges (GPT-NeoX's runs of spaces) are found in the text
before anything else; the text of a special token (`<|endoftext|>`) is text like any other.
"""

import json
from functools import cached_property
from typing import Any

import tokenizers

from puna.core.bounded import parse_json
from puna.core.errors import TokenizerError
from puna.tokenizer.byte_level import content_of, read_patterns
from puna.tokenizer.cuts import cuts_of, cuts_outside
from puna.tokenizer.ends import read_ends, template_of
from puna.tokenizer.engine import as_tokenizer_error, engine_of, line_of
from puna.tokenizer.json_parts import check_parts
from puna.tokenizer.stretches import Between
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.words import Ids, Lengths, WordEncoder, in_a_row

_PROBES = ["a", "  Two  spaces,\ta \ufb01 ligature, A\u2581\r\n\u00a0\x00", "012 + 3?! 'll_~ É 日本 🙂 \n\n  "]
"""Text that a tokenizer changes if it adds or drops spaces, drops anything, or normalises more than NFC does."""

_UTF8 = {*range(0xC0), *range(0xC2, 0xF5)}
"""The bytes that occur in UTF-8 text."""

_NAMED = 16
"""How many missing bytes are named; the others are counted."""

_HOLES = 1024
"""How many ids without a piece a vocabulary may have."""


class ByteBPETokenizer(Tokenizer):
    """A byte-level BPE.

    Args:
        content: A tokenizer.json.
        origin: What to call it in errors.
        config: The tokenizer_config.json beside it. Its own values, which tokens begin and end a text and whether
            encoders add the first, become part of `content`.

    Raises:
        TokenizerError: It is damaged, not a byte-level BPE, or not one that Puna can use.
    """

    kind = "byte-bpe"
    file = "tokenizer.json"

    def __init__(self, content: bytes, origin: str = "tokenizer.json", config: dict[str, Any] | None = None) -> None:
        try:
            data: dict[str, Any] = parse_json(content, origin, TokenizerError)
            check_parts(data, origin)
            _check_kind(data, origin)
            ids, self._added, self._special = _read_vocabulary(data, origin)
            ends = read_ends(data, config, origin)
            if absent := [piece for piece in (ends.bos, ends.eos, *ends.stops) if piece not in ids]:
                raise TokenizerError(f"{origin}: has no token {absent[0]}, which should begin or end a text")
            if config is not None and read_ends(data, None, origin) != ends:
                data["post_processor"] = template_of(ends, ids)
                content = (json.dumps(data, ensure_ascii=False) + "\n").encode()
            self.patterns = read_patterns(data["pre_tokenizer"])
            self.normalizes = data.get("normalizer") is not None
            self.ignore_merges: bool = data["model"].get("ignore_merges", False)
            self._pieces = [""] * (max(ids.values()) + 1)
            for piece, token in ids.items():
                self._pieces[token] = piece
            bos, eos = ids[ends.bos], ids[ends.eos]
            self._special |= {bos, eos} | {token for token, piece in enumerate(self._pieces) if not piece}
            token_bytes = [self._read_piece(token) for token in range(len(self._pieces))]
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise TokenizerError(f"{origin}: is not a tokenizer.json, or a damaged one: {line_of(error)}") from None
        super().__init__(
            content, origin, token_bytes, bos_id=bos, eos_id=eos, unk_id=None, add_bos=ends.add_bos, space_prefix=False
        )
        self._engine = engine_of(content, origin)
        self._engine.encode_special_tokens = True
        self._check_usable()
        self.stops = (eos, *(ids[piece] for piece in ends.stops))
        if missing := self.missing_bytes:
            which = missing[:_NAMED].hex(" ") + (" and more" if len(missing) > _NAMED else "")
            self.notes.append(f"no token stands for {len(missing)} bytes ({which}); they are dropped from a text")

    patterns: tuple[str, ...] | None
    """Regular expressions that split the text one after the other; None where it is split in another way."""
    ignore_merges: bool
    """Whether a piece of the split text that is in the vocabulary is taken whole."""
    normalizes: bool
    """Whether characters are composed before anything else."""

    @cached_property
    def merges(self) -> list[tuple[str, str]]:
        """Pairs of pieces in the order in which they are put together."""
        return [_pair(merge) for merge in json.loads(self.content)["model"]["merges"]]

    @cached_property
    def missing_bytes(self) -> bytes:
        """The bytes of UTF-8 that no token stands for; they are dropped from a text."""
        return bytes(sorted(_UTF8 - {content[0] for content in self._token_bytes if len(content) == 1}))

    def _check_usable(self) -> None:
        for piece, token in self._added.items():
            if self._engine.token_to_id(piece) != token:
                raise TokenizerError(
                    f"{self.origin}: gives {piece!r} the id {token}, but its place is {self._engine.token_to_id(piece)}"
                )
        for token in sorted(self._special):
            if token in self._encode_one(self._pieces[token]):
                raise TokenizerError(f"{self.origin}: turns {self.piece(token)} in text into the control token {token}")
        if any(self.decode(self._encode_one(text)) != self.kept(text) for text in _PROBES):
            raise TokenizerError(
                f"{self.origin}: does not give text back as it was; Puna needs a tokenizer that keeps every space and "
                "changes no character"
            )

    def piece(self, token: int) -> str:
        """How the vocabulary writes this id: bytes in the alphabet of byte-level BPE, added tokens as they are."""
        return self._pieces[token] or f"[PAD{token}]"

    @property
    def added(self) -> dict[str, int]:
        """Ids of the ordinary tokens that were added to the vocabulary."""
        return self._added

    def is_control(self, token: int) -> bool:
        """Whether the id is a special token, or one that has no piece."""
        return token in self._special

    def _read_piece(self, token: int) -> bytes:
        piece = self._pieces[token]
        if token in self._special:
            return b""
        return piece.encode() if piece in self._added else content_of(piece)

    def _encode_texts(self, texts: list[str], threads: int) -> list[list[int]]:
        if threads == 1 or len(texts) == 1:
            return [self._encode_one(text) for text in texts]
        try:
            return [encoding.ids for encoding in self._engine.encode_batch_fast(texts, add_special_tokens=False)]
        except BaseException as error:
            raise as_tokenizer_error(error, self.origin) from None

    def _encode_special(self, text: str) -> list[int]:
        try:
            return self._special_engine.encode(text, add_special_tokens=False).ids
        except BaseException as error:
            raise as_tokenizer_error(error, self.origin) from None

    @cached_property
    def _between_specials(self) -> Between | None:
        found = json.loads(self.content).get("added_tokens", [])
        if any(token.get(flag) for token in found for flag in ("lstrip", "rstrip", "single_word")):
            return None
        if any(token["special"] and token.get("normalized") for token in found):
            return None  # it is looked for in the stretches, after characters were composed
        # Ordinary tokens, too: of two that overlap, the library takes the one that begins first.
        return Between({token["content"]: token["id"] for token in found if not token.get("normalized")})

    @cached_property
    def _special_engine(self) -> tokenizers.Tokenizer:
        """Another one, because whether it reads special tokens is a setting of all threads that use it."""
        return engine_of(self.content, self.origin)

    def _encode_one(self, text: str) -> list[int]:
        try:
            return self._engine.encode(text, add_special_tokens=False).ids
        except BaseException as error:
            raise as_tokenizer_error(error, self.origin) from None

    def _word_encoder(self) -> WordEncoder | None:
        data = json.loads(self.content)
        cuts, found = cuts_of(self.patterns or ()), data.get("added_tokens", [])
        if cuts is None or any(token.get("single_word") for token in found):
            return None
        # Composed characters may become an added token; spaces are never composed, nor do characters compose to a
        # space.
        spaces = [token["content"] for token in found if any(map(str.isspace, token["content"]))]
        if self.normalizes and (data["normalizer"] != {"type": "NFC"} or any(map(str.strip, [*self.added, *spaces]))):
            return None
        # The engine also looks for special tokens, and skips their text.
        return WordEncoder(self._encode_words, cuts_outside([token["content"].encode() for token in found], cuts))

    def _encode_words(self, words: list[str]) -> tuple[Ids, Lengths]:
        return in_a_row([self._encode_one(word) for word in words])


def is_byte_level(data: Any) -> bool:
    """Whether a tokenizer.json is a byte-level BPE, as its parts say."""
    match data:
        case {"model": {"merges": _}, "pre_tokenizer": {"type": "ByteLevel"}}:
            return True
        case {"model": {"merges": _}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": list(steps)}}:
            return any(isinstance(step, dict) and step.get("type") == "ByteLevel" for step in steps)
    return False


def _check_kind(data: Any, origin: str) -> None:
    if not is_byte_level(data):
        raise TokenizerError(f"{origin}: is not a byte-level BPE")
    model = data["model"]
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise TokenizerError(f"{origin}: has {name} = {model[name]!r}, which no byte-level BPE of a LLaMA has")
    if '"add_prefix_space": true' in json.dumps(data["pre_tokenizer"]):
        raise TokenizerError(f"{origin}: puts a space before some texts, so they would not come back as they were")


def _read_vocabulary(data: dict[str, Any], origin: str) -> tuple[dict[str, int], dict[str, int], set[int]]:
    """Ids of all pieces, ids of the ordinary tokens that were added, and the special ones."""
    ids = dict(data["model"]["vocab"])
    added, special = {}, set()
    for token in data.get("added_tokens", []):
        piece = token["content"]
        if not piece or ids.setdefault(piece, token["id"]) != token["id"]:
            raise TokenizerError(f"{origin}: gives {piece!r} the ids {ids.get(piece)} and {token['id']}")
        if token["special"]:
            special.add(token["id"])
        elif token.get("lstrip") or token.get("rstrip"):
            raise TokenizerError(f"{origin}: {piece!r} takes the spaces beside it away, so they would not come back")
        else:
            added[piece] = token["id"]
    taken = set(ids.values())
    if not all(type(token) is int and 0 <= token < len(ids) + _HOLES for token in taken) or len(taken) != len(ids):
        raise TokenizerError(f"{origin}: has ids that are twice there, negative, or far beyond its {len(ids)} pieces")
    return ids, added, special


def _pair(merge: str | list[str]) -> tuple[str, str]:
    """A merge, written as `a b` by older files."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right
