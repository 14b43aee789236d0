"""Joins against lm-evaluation-harness's own encoding, and against what can be read off the text."""

import copy
import inspect
import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import TokenizerError
from puna.evaluate.example import Likelihood, Write
from puna.evaluate.joining import Joined, join, read, request_of, score_all
from puna.infer.requests import Score
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.train import train_tokenizer

LONGEST = 40


@pytest.fixture(scope="module")
def tokenizers(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    """SentencePiece and byte-level BPE, each with the token that begins a text and without."""
    bytes_of = train_tokenizer(
        [inspect.getsource(json)], vocab_size=400, character_coverage=1.0, config={}, inputs={},
        out=tmp_path_factory.mktemp("tokenizer") / "tokenizer", kind="byte-bpe",
    )  # fmt: skip
    found = {}
    for name, one in (("pieces", tokenizer), ("bytes", bytes_of)):
        for add_bos in (True, False):
            changed = copy.copy(one)
            changed.add_bos = add_bos
            found[f"{name}, {'BOS' if add_bos else 'none'}"] = changed
    return found


KINDS = ["pieces, BOS", "pieces, none", "bytes, BOS", "bytes, none"]
TEXTS = st.text(st.sampled_from("ab deftrn\n.:é∂"), max_size=12)


def harness_pair(tokenizer: Tokenizer, context: str, continuation: str) -> tuple[list[int], list[int]] | None:
    """What lm-eval itself scores, from its own `loglikelihood`; None where it stops with an error."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import TemplateLM

    class Asked(TemplateLM):
        backend = "causal"
        prefix_token_id = tokenizer.bos_id

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
            return tokenizer.encode(string, bos=tokenizer.add_bos and add_special_tokens is not False)

        def _loglikelihood_tokens(self, requests: Any, **_: Any) -> Any:
            return requests

        eot_token_id = loglikelihood_rolling = generate_until = cast(Any, None)

    Asked.__abstractmethods__ = frozenset()
    asked = Instance("loglikelihood", {}, (context, continuation), 0)
    try:
        ((_, first, then),) = cast(Any, Asked()).loglikelihood([asked], disable_tqdm=True)
    except IndexError:  # an empty continuation after an empty context
        return None
    return (first, then) if first and then else None


@given(kind=st.sampled_from(KINDS), context=TEXTS, continuation=TEXTS)
def test_jointly_is_the_encoding_of_lm_evaluation_harness(
    tokenizers: dict[str, Tokenizer], kind: str, context: str, continuation: str
) -> None:
    pytest.importorskip("lm_eval")
    tokenizer = tokenizers[kind]
    expected = harness_pair(tokenizer, context, continuation)
    (found,) = join(tokenizer, [(context, continuation)], "jointly", longest=LONGEST)
    if expected is not None:
        assert found == Joined(pairs=((tuple(expected[0]), tuple(expected[1])),))


@given(kind=st.sampled_from(KINDS), context=TEXTS, continuation=TEXTS)
def test_common_scores_all_tokens_of_the_whole_text_that_the_context_alone_does_not_begin_with(
    tokenizers: dict[str, Tokenizer], kind: str, context: str, continuation: str
) -> None:
    tokenizer = tokenizers[kind]
    (found,) = join(tokenizer, [(context, continuation)], "common", longest=LONGEST)
    alone, whole = tokenizer.encode(context.rstrip()), tokenizer.encode(context + continuation)
    if whole == alone:
        assert found == Joined(pairs=())
        return
    ((first, then),) = found.pairs
    begins = first[:1] == (tokenizer.bos_id,)
    assert [*first, *then][begins:] == whole
    assert tokenizer.bos_id not in (*first[1:], *then)
    assert begins == (tokenizer.add_bos or not alone or alone[0] != whole[0])
    assert list(first[begins:]) == alone[: len(first) - begins]
    assert found.moved == (len(first) - begins < len(alone))
    assert found.moved or list(first[begins:]) == alone


def test_a_token_over_the_join_is_scored_and_counted(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["pieces, BOS"]
    words = (tokenizer.bytes_of(token).decode(errors="replace").strip() for token in range(260, tokenizer.vocab_size))
    word = next(text for text in words if len(text) > 2 and len(tokenizer.encode(text)) == 1)
    token = tuple(tokenizer.encode(word))
    for how in ("jointly", "common"):
        (found,) = join(tokenizer, [(word[:-1], word[-1:])], how, longest=LONGEST)
        assert found == Joined(pairs=(((tokenizer.bos_id,), token),), moved=True)
    bare = tokenizers["pieces, none"]
    (found,) = join(bare, [(word[:-1], word[-1:])], "jointly", longest=LONGEST)
    assert found == Joined(pairs=(((bare.bos_id,), token),), moved=True)  # something has to stand before it


def test_separately_encodes_each_alone_with_one_bos_in_front(tokenizers: dict[str, Tokenizer]) -> None:
    for kind in KINDS:
        tokenizer = tokenizers[kind]
        bos = (tokenizer.bos_id,) * tokenizer.add_bos
        (found,) = join(tokenizer, [("def f", " return")], "separately", longest=LONGEST)
        ((first, then),) = found.pairs
        assert first == (*bos, *tokenizer.encode("def f"))
        assert tokenizer.decode(list(then)).strip() == "return"
        assert b"".join(tokenizer.bytes_of(token) for token in then) == b" return"  # one space, not the prefix's too
        assert join(tokenizer, [("", " a")], "separately", longest=LONGEST)[0].pairs[0][0] == (tokenizer.bos_id,)


def test_a_continuation_without_tokens_asks_nothing_and_is_certain(tokenizers: dict[str, Tokenizer]) -> None:
    for how in ("jointly", "separately", "common"):
        (found,) = join(tokenizers["pieces, BOS"], [("def", "")], how, longest=LONGEST)
        assert found.pairs == ()
        assert found.likelihood([]) == Likelihood(logprob=0.0, tokens=0, greedy=True)


def test_a_long_context_loses_its_beginning_and_neither_bos_nor_the_continuation(
    tokenizers: dict[str, Tokenizer],
) -> None:
    context = "def return " * 30
    for kind in KINDS:
        tokenizer = tokenizers[kind]
        (whole,) = join(tokenizer, [(context, " if x")], "jointly", longest=10_000)
        (found,) = join(tokenizer, [(context, " if x")], "jointly", longest=LONGEST)
        ((first, then),), ((all_of_it, same),) = found.pairs, whole.pairs
        assert (then, len(first) + len(then)) == (same, LONGEST + 1)
        assert found.cut == len(all_of_it) - len(first) > 0
        bos = tokenizer.add_bos
        assert first[:1] == all_of_it[:1] if bos else first == all_of_it[-len(first) :]
        assert first[bos:] == all_of_it[len(all_of_it) - len(first) + bos :]
        assert first.count(tokenizer.bos_id) == bos


def test_a_continuation_longer_than_the_context_is_scored_in_windows(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["pieces, BOS"]
    long = " def return" * 40
    (found,) = join(tokenizer, [("class x", long)], "jointly", longest=LONGEST)
    (whole,) = join(tokenizer, [("class x", long)], "jointly", longest=10_000)
    ((context, continuation),) = whole.pairs
    assert sum((then for _, then in found.pairs), ()) == continuation
    assert found.pairs[0][0] == (tokenizer.bos_id,)
    assert found.cut == len(context) - 1
    assert all(len(first) + len(then) == LONGEST + 1 for first, then in found.pairs)


@given(kind=st.sampled_from(KINDS), text=st.text(st.sampled_from("ab de\n"), max_size=300), longest=st.integers(1, 30))
def test_windows_over_a_text_are_those_of_lm_evaluation_harness(
    tokenizers: dict[str, Tokenizer], kind: str, text: str, longest: int
) -> None:
    utils = pytest.importorskip("lm_eval.utils")
    tokenizer = tokenizers[kind]
    windows = utils.get_rolling_token_windows(
        token_list=tokenizer.encode(text), prefix_token=tokenizer.bos_id, max_seq_len=longest, context_len=1
    )
    expected = [utils.make_disjoint_window(window) for window in windows]
    (found,) = read(tokenizer, [text], longest=longest)
    assert [(list(first), list(then)) for first, then in found.pairs] == expected


def test_a_likelihood_adds_up_windows() -> None:
    joined = Joined(pairs=(((1,), (2, 3)), ((3,), (4,))), cut=5, moved=True)
    scores = [Score(logprobs=(-1.0, -2.0), greedy=True), Score(logprobs=(-0.5,), greedy=False)]
    assert joined.likelihood(scores) == Likelihood(logprob=-3.5, tokens=3, greedy=False, cut=5, moved=True)


def test_all_are_scored_together_and_each_gets_its_own_scores() -> None:
    class Counted:
        calls = 0

        def score(self, pairs: Any) -> list[Score]:
            self.calls += 1
            return [Score(logprobs=tuple(map(float, then)), greedy=True) for _, then in pairs]

    backend = cast(Any, Counted())
    joined = [Joined(pairs=(((1,), (2,)), ((2,), (3,)))), Joined(pairs=()), Joined(pairs=(((1,), (7,)),))]
    assert [one.logprob for one in score_all(backend, joined)] == [5, 0, 7]
    assert backend.calls == 1


@pytest.mark.parametrize(
    ("length", "max_tokens", "prompt", "answer"),
    [(9, 20, 10, 20), (29, 20, 20, 20), (60, 35, 20, 20), (60, 100, 20, 20), (60, 5, 35, 5), (9, 100, 10, 30)],
)
def test_a_prompt_is_cut_for_a_long_answer_down_to_half_of_the_context(
    tokenizers: dict[str, Tokenizer], length: int, max_tokens: int, prompt: int, answer: int
) -> None:
    tokenizer = tokenizers["bytes, BOS"]
    text = "\x00" * length  # a token each
    ask = Write(prompt=text, max_tokens=max_tokens, stop=("\n",), n=3, temperature=0.5, top_p=0.9, seed=4)
    request, cut = request_of(tokenizer, ask, longest=LONGEST)
    assert (len(request.prompt), request.max_tokens, cut) == (prompt, answer, length + 1 - prompt)
    assert request.prompt[0] == tokenizer.bos_id
    assert request.prompt[1:] == tuple(tokenizer.encode(text))[cut:]
    assert (request.n, request.stop, request.sampling.seed, request.sampling.top_p) == (3, ("\n",), 4, 0.9)
    assert request.stop_ids == {tokenizer.eos_id}


def test_half_a_character_is_refused(tokenizers: dict[str, Tokenizer]) -> None:
    with pytest.raises(TokenizerError, match="lone surrogate"):
        join(tokenizers["pieces, BOS"], [("a", "\ud800")], "common", longest=LONGEST)
