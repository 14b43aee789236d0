import random

import pytest

from puna.infer.stops import Text
from puna.tokenizer.tokenizer import Tokenizer


def run(tokenizer: Tokenizer, ids: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], str | None]:
    """The pieces that come out until the text ends, and what ended it."""
    text = Text(tokenizer, (5,), stop)
    pieces = []
    for token in ids:
        piece, found = text.push(token)
        pieces.append(piece)
        if found is not None:
            break
    else:
        piece, found = text.finish()
        pieces.append(piece)
    assert text.given == "".join(pieces)
    return pieces, found


def bytes_as_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The text as one token per byte."""
    ids = {content: token for token, content in reversed(list(enumerate(tokenizer.token_bytes()))) if len(content) == 1}
    return [ids[bytes([byte])] for byte in text.encode()]


def test_no_piece_has_half_a_character(tokenizer: Tokenizer) -> None:
    pieces, found = run(tokenizer, bytes_as_ids(tokenizer, "é日本🙂"))
    assert [piece for piece in pieces if piece] == ["é", "日", "本", "🙂"]
    assert found is None


def test_half_a_character_at_the_end_is_marked(tokenizer: Tokenizer) -> None:
    assert "".join(run(tokenizer, bytes_as_ids(tokenizer, "🙂")[:-1])[0]) == "\ufffd"


def test_what_may_begin_a_stop_string_is_held_back_until_it_does_not(tokenizer: Tokenizer) -> None:
    pieces, found = run(tokenizer, bytes_as_ids(tokenizer, "a\n\nb\n\nUs."), ("\n\nUser:",))
    assert pieces == ["a", "", "", "\n\nb", "", "", "", "", "\n\nUs.", ""]
    assert found is None


def test_a_stop_string_over_several_tokens_ends_the_text_before_it(tokenizer: Tokenizer) -> None:
    pieces, found = run(tokenizer, bytes_as_ids(tokenizer, "one\nUser: two"), ("\nUser:",))
    assert ("".join(pieces), found) == ("one", "\nUser:")


def test_what_was_held_back_comes_at_the_end(tokenizer: Tokenizer) -> None:
    pieces, found = run(tokenizer, bytes_as_ids(tokenizer, "one\nUse"), ("\nUser:",))
    assert ("".join(pieces), pieces[-1], found) == ("one\nUse", "\nUse", None)


@pytest.mark.parametrize("seed", range(200))
def test_the_text_ends_at_the_same_place_however_it_is_cut_into_tokens(tokenizer: Tokenizer, seed: int) -> None:
    dice = random.Random(seed)
    letters = "abé"
    text = "".join(dice.choices(letters, k=dice.randrange(30)))
    stop = tuple({"".join(dice.choices(letters, k=dice.randrange(1, 5))) for _ in range(dice.randrange(4))})
    expected, by = text, None
    for end in range(len(text) + 1):
        ended = [one for one in stop if text[:end].endswith(one)]
        if ended:
            by = max(ended, key=len)
            expected = text[: end - len(by)]
            break
    for ids in (bytes_as_ids(tokenizer, text), tokenizer.encode(text)):
        pieces, found = run(tokenizer, ids, stop)
        given = "".join(pieces).removeprefix(" " if tokenizer.space_prefix else "")
        assert (given, found) == (expected, by)


def test_an_id_behind_the_vocabulary_has_no_text(tokenizer: Tokenizer) -> None:
    assert run(tokenizer, [tokenizer.vocab_size + 3])[0] == ["", ""]


def test_without_a_tokenizer_there_is_no_text() -> None:
    text = Text(None)
    assert (text.push(3), text.finish(), text.given) == (("", None), ("", None), "")


def test_only_behind_a_lone_beginning_of_sequence_the_dummy_prefix_goes(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("word")
    alone, after = Text(tokenizer, (tokenizer.bos_id,)), Text(tokenizer, (tokenizer.bos_id, ids[0]))
    assert "".join(alone.push(token)[0] for token in ids) == "word"
    assert "".join(after.push(token)[0] for token in ids) == (" word" if tokenizer.space_prefix else "word")
