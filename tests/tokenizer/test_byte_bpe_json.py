"""What is written is read back: by Puna, and by Hugging Face's library."""

import json

import tokenizers

from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.byte_bpe_json import write_byte_bpe
from puna.tokenizer.byte_level import LETTERS, LLAMA3
from puna.tokenizer.ends import Ends

PIECES = [*LETTERS.values(), "Ġa", "ab", "Ġab", "   ", "<go>", "<stop>", "<unused>"]
MERGES = [("Ġ", "a"), ("Ġa", "b"), ("a", "b")]
CONTENT = write_byte_bpe(
    PIECES, MERGES, LLAMA3, Ends("<go>", "<stop>", add_bos=True), special=[260, 261, 262], added=[259]
)


def test_parts_are_where_they_belong() -> None:
    tokenizer = ByteBPETokenizer(CONTENT)
    assert [tokenizer.piece(token) for token in range(tokenizer.vocab_size)] == PIECES
    assert tokenizer.merges == MERGES
    assert (tokenizer.patterns, tokenizer.ignore_merges) == LLAMA3
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.add_bos) == (260, 261, True)
    assert tokenizer.added == {"   ": 259}
    assert [token for token in range(263) if tokenizer.is_control(token)] == [260, 261, 262]
    assert not tokenizer.normalizes


def test_library_reads_it_alike() -> None:
    ours, theirs = ByteBPETokenizer(CONTENT), tokenizers.Tokenizer.from_str(CONTENT.decode())
    for text in (" ab ab", "   abc", "x<go>"):
        expected = ours.encode(text, bos=True) if "<" not in text else [260, ours.encode("x")[0], 260]
        assert theirs.encode(text).ids == expected
    assert theirs.decode(ours.encode("   ab ünï", bos=True)) == "   ab ünï"


def test_same_parts_give_the_same_bytes() -> None:
    again = write_byte_bpe(
        PIECES, MERGES, LLAMA3, Ends("<go>", "<stop>", add_bos=True), special={262, 261, 260}, added={259}
    )
    assert again == CONTENT
    assert json.loads(CONTENT)["model"]["ignore_merges"] is True
