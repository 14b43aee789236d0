"""Turns a tokenizer.json that works like SentencePiece back into a SentencePiece model, and proves it equal."""

from typing import Any

from puna.core.errors import TokenizerError
from puna.tokenizer.agreement import check_agreement, first_disagreement, huggingface_form
from puna.tokenizer.ends import Ends, read_ends
from puna.tokenizer.sentencepiece import SPACE, SentencePieceTokenizer
from puna.tokenizer.sentencepiece_model import (
    BYTE,
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

_UNKNOWN = "<unk>"
_BYTES = {f"<0x{byte:02X}>" for byte in range(256)}


def is_sentencepiece_like(data: Any) -> bool:
    """Whether a tokenizer.json is a BPE that falls back to bytes, or writes spaces as SentencePiece does."""
    match data:
        case {"model": {"merges": _, "vocab": dict(vocabulary)}}:
            return vocabulary.keys() >= _BYTES or any(piece.startswith(SPACE) for piece in vocabulary)
    return False


def read_sentencepiece_json(
    data: dict[str, Any], content: bytes, origin: str, config: dict[str, Any] | None
) -> SentencePieceTokenizer:
    """The SentencePiece model that gives the ids of a tokenizer.json.

    Args:
        data: The tokenizer.json.
        content: The same as bytes of the file.
        origin: What to call it in errors.
        config: The tokenizer_config.json beside it.

    Raises:
        TokenizerError: It is damaged, or no SentencePiece model gives the same ids for every text.
    """
    try:
        ends = read_ends(data, config, origin)
        prefix, unk = _puts_space(data), _unknown(data, ends, origin)
        pieces = _pieces(data, unk, origin)
        # The library puts a dummy prefix before each stretch of text between such tokens.
        each = prefix and any(piece.kind == USER_DEFINED for piece in pieces)
        model = write_model(
            pieces, unk=unk, bos=ends.bos, eos=ends.eos, space_prefix=prefix, extras=Extras(prefix_each=each)
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise TokenizerError(f"{origin}: is not a tokenizer.json, or a damaged one: {error!r:.200}") from None
    tokenizer = SentencePieceTokenizer(model if ends.add_bos else add_no_bos(model), origin)
    # BOS from tokenizer_config.json is not compared: the library reads only tokenizer.json.
    forms = {origin: huggingface_form(content, origin, bos_id=tokenizer.bos_id if ends.add_bos else None)}
    if sentence := first_disagreement(check_agreement(tokenizer, forms)):
        raise TokenizerError(
            f"{origin}: does not do what a SentencePiece model does: {sentence}",
            hint="use the tokenizer.model that it was made from",
        )
    return tokenizer


def _unknown(data: dict[str, Any], ends: Ends, origin: str) -> str:
    """The piece for unknown characters; SentencePiece needs one, even where every character has its bytes."""
    ids, named = data["model"]["vocab"], data["model"].get("unk_token")
    special = [token["content"] for token in data.get("added_tokens") or [] if token["special"]]
    spare = [piece for piece in (_UNKNOWN, *special) if piece in {*ids, *special} and piece not in (ends.bos, ends.eos)]
    if named is None and not spare:
        raise TokenizerError(f"{origin}: has no token for unknown characters, nor another one that could be it")
    return spare[0] if named is None else named


def _pieces(data: dict[str, Any], unk: str, origin: str) -> list[Piece]:
    """The vocabulary; a piece's score is the rank of the first merge that makes it."""
    model = data["model"]
    ids: dict[str, int] = dict(model["vocab"])
    # SentencePiece falls back to all bytes or to none, and then pieces called so are only names.
    falls_back = model.get("byte_fallback", True) and ids.keys() >= _BYTES
    kinds = dict.fromkeys(_BYTES, BYTE if falls_back else UNUSED)
    for token in data.get("added_tokens", []):
        if ids.setdefault(token["content"], token["id"]) != token["id"]:
            raise TokenizerError(f"{origin}: gives {token['content']!r} two ids")
        kinds[token["content"]] = CONTROL if token["special"] else USER_DEFINED
    kinds[unk] = UNKNOWN
    scores: dict[str, float] = {}
    for rank, merge in enumerate(model["merges"]):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        scores.setdefault(left + right, -float(rank))
    pieces = sorted(ids, key=ids.__getitem__)
    if [ids[piece] for piece in pieces] != list(range(len(pieces))):
        raise TokenizerError(f"{origin}: has ids that are twice there, or left out")
    lowest = -float(len(model["merges"]))
    return [
        Piece(
            piece,
            scores.get(piece, lowest),
            # A longer piece without a merge is never made.
            kinds.get(piece) or (UNUSED if len(piece) > 1 and piece not in scores else NORMAL),
        )
        for piece in pieces
    ]


def _puts_space(data: dict[str, Any]) -> bool:
    """Whether a dummy prefix is put before the text."""
    steps = [data.get("normalizer"), data.get("pre_tokenizer")]
    for step in steps:
        match step:
            case {"type": "Sequence", "normalizers": list(inner)} | {"type": "Sequence", "pretokenizers": list(inner)}:
                steps += inner
            case {"type": "Prepend", "prepend": prefix}:
                return prefix == SPACE
            case {"type": "Metaspace"}:
                return step.get("prepend_scheme", "always") != "never" and step.get("add_prefix_space", True)
    return False
