"""Examples in token ids: every option is asked once, in groups that are filled with new tokens."""

import copy
from pathlib import Path

import pytest
from evaluating import HashBackend, hellaswag_rows, opener

from puna.evaluate.asking import groups, in_order
from puna.evaluate.cache import TokenCache, token_cache
from puna.evaluate.documents import open_documents
from puna.evaluate.example import Choose, Continue, Example, Option, Read, Write
from puna.evaluate.registry import find_task
from puna.tokenizer.tokenizer import Tokenizer

DOCUMENTS = open_documents(
    find_task("harness/hellaswag"), opener({("hellaswag", "validation"): hellaswag_rows(30)})
)  # fmt: skip


def mixed() -> list[Example]:
    options = tuple(Option(context=f"{word} is", continuation=" here", text="here") for word in ("This", "That"))
    own = (("Answer:", " a"), ("Answer:", " b"))
    return [
        Example(id="w", ask=Write(prompt="Say ", max_tokens=3, n=2)),
        Example(id="c", ask=Choose(options=options, gold=(0,), own=own)),
        Example(id="r", ask=Read(texts=("one text", "x" * 2000))),
        Example(id="t", ask=Continue(context="Two and", target=" two", text="two")),
        Example(id="e", ask=Continue(context="Nothing", target="", text="")),
    ]


def test_every_kind_is_answered_in_its_own_form(tokenizer: Tokenizer) -> None:
    backend = HashBackend(tokenizer)
    (group,) = groups(mixed(), backend, "jointly")
    answers, cost = group.answers(backend)
    found = {one.example.id: answer for one, answer in zip(group.asked, answers, strict=True)}
    assert {id: (len(a.likelihoods), len(a.own), len(a.written)) for id, a in found.items()} == {
        "w": (0, 0, 2), "c": (2, 2, 0), "r": (2, 0, 0), "t": (1, 0, 0), "e": (1, 0, 0),
    }  # fmt: skip
    assert found["r"].likelihoods[1].tokens > backend.longest
    assert (found["e"].likelihoods[0].tokens, found["e"].likelihoods[0].logprob) == (0, 0.0)
    assert cost.requests == 2 + 4 + 2 + 1 + 1
    assert cost.tokens_read == sum(len(x) + len(y) for x, y in backend.scored) + len(backend.requests[0].prompt)


@pytest.mark.parametrize("tokens", [1, 200, 10**9])
def test_groups_hold_all_documents_once_in_their_order(tokenizer: Tokenizer, tokens: int) -> None:
    examples = list(DOCUMENTS.examples())
    found = list(groups(examples, HashBackend(tokenizer), "jointly", tokens=tokens))
    assert [one.example for group in found for one in group.asked] == examples
    assert len(found) == {1: 30, 10**9: 1}.get(tokens, len(found))
    assert 1 <= len(found) <= 30


def test_a_beginning_that_documents_share_counts_once(tokenizer: Tokenizer) -> None:
    prefix = "A long prefix of a subject, with its solved examples. " * 20
    examples = [
        Example(id=str(at), ask=Continue(context=f"{prefix}{at}", target=" x", text="x")) for at in range(40)
    ]  # fmt: skip
    length = len(tokenizer.encode(prefix))
    assert len(list(groups(examples, HashBackend(tokenizer), "jointly", tokens=2 * length))) <= 2


def test_documents_that_begin_alike_are_asked_after_each_other() -> None:
    examples = [Example(id=str(at), ask=Continue(context="ba"[at % 2], target=" x", text="x")) for at in range(6)]
    assert [example.id for example in in_order(examples)] == ["1", "3", "5", "0", "2", "4"]


def test_ids_that_are_kept_are_those_that_would_be_made(tokenizer: Tokenizer, tmp_path: Path) -> None:
    backend = HashBackend(tokenizer)
    examples = [*mixed(), *DOCUMENTS.examples()]

    def asked(cache: TokenCache | None, examples: list[Example]) -> list[tuple[str, object]]:
        found = groups(examples, backend, "jointly", cache=cache)
        return [(one.example.id, one.joined) for group in found for one in group.asked]

    def opened() -> TokenCache:
        return token_cache("harness/hellaswag@0", "jointly", backend, share="0 of 1", root=tmp_path)

    assert asked(opened(), examples[:9]) == asked(None, examples[:9])
    cache = opened()
    assert len(cache) == 8  # what is written has no ids that are kept
    assert asked(cache, examples) == asked(None, examples)
    assert len(opened()) == len(examples) - 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".ids"]


def test_other_tokenizers_joins_and_contexts_have_other_files(tokenizer: Tokenizer, tmp_path: Path) -> None:
    backend, longer = HashBackend(tokenizer), HashBackend(tokenizer)
    longer.longest += 1
    bare = HashBackend(copy.copy(tokenizer))
    bare.tokenizer.add_bos = not tokenizer.add_bos
    paths = {
        token_cache(task, how, one, share=share, root=tmp_path).path
        for task, how, one, share in (
            ("a", "jointly", backend, ""), ("b", "jointly", backend, ""), ("a", "common", backend, ""),
            ("a", "jointly", longer, ""), ("a", "jointly", bare, ""), ("a", "jointly", backend, "1 of 2"),
        )
    }  # fmt: skip
    assert len(paths) == 6
