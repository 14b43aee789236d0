"""A SentencePiece model with the tokens that lie beside it: they become pieces, so that every form can hold them."""

from collections.abc import Sequence

from puna.core.errors import TokenizerError
from puna.tokenizer.added import AddedToken, Beside
from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.sentencepiece_model import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Extras,
    Piece,
    with_pieces,
)

_MOST_HOLES = 1024


def extended(tokenizer: SentencePieceTokenizer, beside: Beside, stop_ids: Sequence[int]) -> SentencePieceTokenizer:
    """The tokenizer with the added tokens and the ends of a text that other files name; itself if they add nothing.

    Args:
        tokenizer: What tokenizer.model holds.
        beside: What the files beside it say, tokens without an embedding left out.
        stop_ids: The tokens at which the model's own files end a text.

    Raises:
        TokenizerError: A token has two ids, a byte's id, or one far behind the others.
    """
    pieces = list(tokenizer.pieces)
    notes = list(beside.notes)
    for token, added in sorted(beside.added.items()):
        _place(pieces, token, added, tokenizer.origin, notes)
    ids = {piece.text: token for token, piece in enumerate(pieces)}
    bos, eos = tokenizer.bos_id, tokenizer.eos_id
    if (name := beside.name("bos_token")) in ids:
        bos = ids[name]
    known = [token for token in stop_ids if token < len(pieces) and pieces[token].kind != UNUSED]
    if (name := beside.name("eos_token")) in ids:
        eos = ids[name]
    elif known and eos not in known:
        eos = known[0]
    for role, token in (("bos_token", bos), ("eos_token", eos)):
        if (name := beside.name(role)) and name not in ids:
            taken = pieces[token].text
            notes.append(f"{name!r:.80}, the {role} of a file beside the model, is not a token; {taken!r:.80} is taken")
    for token in {bos, eos, *known}:  # what ends a text stands for none
        if pieces[token].kind == USER_DEFINED or (token in (bos, eos) and pieces[token].kind == NORMAL):
            pieces[token] = pieces[token]._replace(kind=CONTROL)
    each = tokenizer.prefix_each or (tokenizer.space_prefix and _adds_ordinary(pieces, tokenizer.pieces))
    stops = dict.fromkeys(token for token in (*known, *tokenizer.stops[1:]) if token != eos)
    extras = Extras(each, tuple(stops))
    same = pieces == tokenizer.pieces and (bos, eos) == (tokenizer.bos_id, tokenizer.eos_id)
    if same and extras == Extras(tokenizer.prefix_each, tokenizer.stops[1:]):
        tokenizer.notes += notes
        return tokenizer
    content = with_pieces(tokenizer.content, pieces, bos=pieces[bos].text, eos=pieces[eos].text, extras=extras)
    other = SentencePieceTokenizer(content, tokenizer.origin)
    other.notes += notes
    return other


def _place(pieces: list[Piece], token: int, added: AddedToken, origin: str, notes: list[str]) -> None:
    """Give an added token its place among the pieces, or another kind where it has it."""
    kind = CONTROL if added.special else USER_DEFINED
    if token >= len(pieces) + _MOST_HOLES:
        raise TokenizerError(
            f"{origin}: has {len(pieces)} pieces, and a file beside it adds {added.text!r:.80} as {token}"
        )
    while len(pieces) <= token:
        pieces.append(Piece(f"[PAD{len(pieces)}]", 0.0, UNUSED))
    old = pieces[token]
    if old.kind in (BYTE, UNKNOWN) or (old.text == added.text and old.kind == kind):
        if old.text != added.text:
            raise TokenizerError(f"{origin}: has {old.text} as {token}, and a file beside it {added.text!r:.80}")
        return
    if old.text != added.text:
        if any(piece.text == added.text for piece in pieces):
            raise TokenizerError(
                f"{origin}: has {added.text!r:.80}, and a file beside it gives that the id {token}, too"
            )
        if old.kind != UNUSED or not old.text.startswith("[PAD"):
            notes.append(f"token {token} is {added.text!r:.80}, as a file beside the model says, not {old.text!r:.80}")
    elif old.kind == CONTROL:
        return  # an ordinary token elsewhere; text of it stays text
    asked = [flag for flag in added.flags if flag != "normalized"]
    if asked and not added.special:
        notes.append(f"{added.text!r:.80} is found without regard to {', '.join(asked)}, as llama.cpp does")
    pieces[token] = Piece(added.text, 0.0 if old.kind == UNUSED else old.score, kind)


def _adds_ordinary(pieces: list[Piece], before: list[Piece]) -> bool:
    """Whether ordinary tokens were added to a model that had none of its own."""

    def found(of: list[Piece]) -> bool:
        return any(piece.kind == USER_DEFINED for piece in of)

    return found(pieces) and not found(before)
