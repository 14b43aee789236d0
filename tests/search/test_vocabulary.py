from puna.search.vocabulary import Vocabulary
from puna.tokenizer.tokenizer import Tokenizer


def test_tokens_of_equal_bytes_have_one_rank_and_control_tokens_each_their_own(any_tokenizer: Tokenizer):
    vocabulary = Vocabulary(any_tokenizer)
    of_bytes: dict[bytes, set[int]] = {}
    for token, content in enumerate(any_tokenizer.token_bytes()):
        rank = int(vocabulary.rank_of[token])
        assert vocabulary.tokens[rank] == content
        of_bytes.setdefault(content, set()).add(rank)
    controls = of_bytes.pop(b"", set())
    assert len(controls) == sum(not content for content in any_tokenizer.token_bytes())
    assert all(len(ranks) == 1 for ranks in of_bytes.values())
    assert vocabulary.tokens == sorted(vocabulary.tokens)


def test_tokens_that_begin_alike_are_a_range_of_ranks(any_tokenizer: Tokenizer):
    vocabulary = Vocabulary(any_tokenizer)
    prefixes = {content[:size] for content in vocabulary.tokens for size in range(1, len(content) + 1)}
    for prefix in [*prefixes, b"\xff", b"\xff\xff", b"zzz", b"\xc3\xa9\xff"]:
        low, high = vocabulary.beginning_with(prefix)
        expected = [rank for rank, content in enumerate(vocabulary.tokens) if content.startswith(prefix)]
        assert list(range(low, high)) == expected
        low, high = vocabulary.equal_to(prefix)
        assert list(range(low, high)) == [rank for rank, one in enumerate(vocabulary.tokens) if one == prefix]


def test_tails_are_all_ends_of_tokens(any_tokenizer: Tokenizer):
    vocabulary = Vocabulary(any_tokenizer)
    tails = vocabulary.tails
    expected = sorted((one[at:], rank, at) for rank, one in enumerate(vocabulary.tokens) for at in range(1, len(one)))
    assert list(zip(tails.texts, tails.ranks, tails.starts, strict=True)) == expected
    for prefix in {text[:2] for text in tails.texts} | {b"\xff"}:
        assert [tails.texts[one] for one in tails.beginning_with(prefix)] == [
            text for text in tails.texts if text.startswith(prefix)
        ]
        assert [tails.texts[one] for one in tails.equal_to(prefix)] == [text for text in tails.texts if text == prefix]
