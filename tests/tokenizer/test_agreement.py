"""The guard of every export: it passes for the same tokenizer and catches each way to get it wrong."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from puna.core.errors import TokenizerError
from puna.tokenizer.agreement import (
    battery,
    battery_for,
    check_agreement,
    first_disagreement,
    huggingface_form,
    tokenizer_form,
)
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.huggingface import tokenizer_json
from puna.tokenizer.sentencepiece import SPACE, SentencePieceTokenizer
from puna.tokenizer.tokenizer import Tokenizer

Change = Callable[[dict[str, Any]], Any]


def metaspace(content: dict[str, Any]) -> None:
    """What transformers' LlamaTokenizer does: no dummy prefix where the text begins with a space already."""
    content["normalizer"] = None
    content["pre_tokenizer"] = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": False}


WRONG: dict[str, Change] = {
    "no token at the beginning": lambda content: content.update(post_processor=None),
    "no dummy prefix": lambda content: content["normalizer"]["normalizers"].pop(0),
    "Metaspace of LlamaTokenizer": metaspace,
    "spaces merged": lambda content: content["normalizer"]["normalizers"].insert(
        0, {"type": "Replace", "pattern": {"Regex": " +"}, "content": " "}
    ),
    "text stripped": lambda content: content["normalizer"]["normalizers"].insert(
        0, {"type": "Strip", "strip_left": False, "strip_right": True}
    ),
    "characters normalised": lambda content: content["normalizer"]["normalizers"].insert(0, {"type": "NFKC"}),
    "characters composed": lambda content: content["normalizer"]["normalizers"].insert(0, {"type": "NFC"}),
    "no byte fallback": lambda content: content["model"].update(byte_fallback=False),
    "merges in another order": lambda content: content["model"]["merges"].reverse(),
    "merges lost": lambda content: content["model"].update(merges=content["model"]["merges"][:200]),
    "split at spaces": lambda content: content.update(
        pre_tokenizer={
            "type": "Split", "pattern": {"String": SPACE}, "behavior": "MergedWithNext", "invert": False
        }
    ),
    "leading space kept in decoding": lambda content: content["decoder"]["decoders"].pop(),
    "all leading spaces stripped in decoding": lambda content: content["decoder"]["decoders"][-1].update(start=9),
    "bytes shown in decoding": lambda content: content["decoder"]["decoders"].pop(1),
}  # fmt: skip


WRONG_BYTE_BPE: dict[str, Change] = {
    "no token at the beginning": lambda content: content.update(post_processor=None),
    "a space before the text": lambda content: content["pre_tokenizer"].update(add_prefix_space=True),
    "characters composed": lambda content: content.update(normalizer={"type": "NFC"}),
    "another split": lambda content: content["pre_tokenizer"].update(use_regex=False),
    "merges in another order": lambda content: content["model"]["merges"].reverse(),
    "merges lost": lambda content: content["model"].update(merges=content["model"]["merges"][:200]),
    "bytes shown in decoding": lambda content: content.update(decoder=None),
    "an ordinary token is special": lambda content: content["added_tokens"].append(
        content["added_tokens"][0] | {"id": content["model"]["vocab"]["self"], "content": "self"}
    ),
}


@pytest.mark.parametrize("vocabulary", ["tokenizer", "llama", "byte_bpe", "spaced", "neox"])
def test_the_same_tokenizer_agrees(vocabulary: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(vocabulary)
    forms = {
        "tokenizer.json": huggingface_form(tokenizer_json(tokenizer), "tokenizer.json"),
        "itself": tokenizer_form(tokenizer),
    }
    agreement = check_agreement(tokenizer, forms)
    compared = len(battery_for(tokenizer, reads_control=True))
    assert agreement == {"forms": ["tokenizer.json", "itself"], "strings": compared, "disagreements": []}
    assert first_disagreement(agreement) is None
    assert compared > 490


@pytest.mark.parametrize(
    ("vocabulary", "change"),
    [
        *(pytest.param("tokenizer", change, id=name) for name, change in WRONG.items()),
        *(pytest.param("byte_bpe", change, id=f"byte BPE: {name}") for name, change in WRONG_BYTE_BPE.items()),
    ],
)
def test_a_wrong_tokenizer_is_caught(vocabulary: str, change: Change, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(vocabulary)
    content = json.loads(tokenizer_json(tokenizer))
    change(content)
    agreement = check_agreement(tokenizer, {"bad": huggingface_form(json.dumps(content).encode(), "bad")})
    first = agreement["disagreements"][0]
    assert (first["form"], first["puna"]) == ("bad", tokenizer.encode(first["text"], bos=True))
    assert (first["other"], first["decoded"]) != (first["puna"], tokenizer.decode(first["puna"]))
    bad = huggingface_form(json.dumps(content).encode(), "bad")
    assert (first["other"], first["decoded"]) == (bad.encode(first["text"]), bad.decode(first["puna"]))
    sentence = first_disagreement(agreement)
    assert sentence is not None
    assert sentence.startswith("bad ")
    assert repr(first["text"])[:79] in sentence


def test_sentence_says_what_differs(tokenizer: SentencePieceTokenizer) -> None:
    def sentence(**values: Any) -> str | None:
        entry = {"form": "F", "text": "a b", "puna": [1, 5, 6], "other": [1, 5, 6], "decoded": "a b"} | values
        return first_disagreement({"forms": ["F"], "strings": 9, "disagreements": [entry]})

    assert sentence(other=[1, 7]) == "F writes 'a b' with id 7 at 1, not 5 (1 of 9 strings differ)"
    assert sentence(other=[1, 5]) == "F writes 'a b' with 2 ids, not 3 (1 of 9 strings differ)"
    assert sentence(decoded="ab") == "F decodes the ids of 'a b' to 'ab' (1 of 9 strings differ)"


def test_the_tokenizer_of_other_text_is_caught(tokenizer: SentencePieceTokenizer, byte_bpe: ByteBPETokenizer) -> None:
    assert check_agreement(tokenizer, {"other": tokenizer_form(byte_bpe)})["disagreements"]


def test_differences_by_design_are_asked_of_all_forms_but_hugging_face_s(
    tokenizer: SentencePieceTokenizer, byte_bpe: ByteBPETokenizer
) -> None:
    for each, control in ((tokenizer, "</s>"), (byte_bpe, "<|endoftext|>")):
        everything = battery_for(each, reads_control=False)
        assert {control, SPACE, f"the{SPACE}the", "<s>"} <= set(everything)
        without = battery_for(each, reads_control=True)
        assert not any(control in text for text in without)
        assert set(battery()) >= {text for text in without if SPACE not in text and "<" not in text}
    assert not any(SPACE in text for text in battery_for(tokenizer, reads_control=True))
    assert SPACE in battery_for(byte_bpe, reads_control=True)


def test_tokens_that_are_found_first_are_asked(spaced: ByteBPETokenizer) -> None:
    """Each alone, within a word, between spaces and twice: runs of spaces are found before anything else."""
    asked = battery_for(spaced, reads_control=False)
    added = sorted(spaced.added)
    assert " " * 24 in added
    assert asked[-4 * len(added) :] == [
        text for piece in added for text in (piece, f"a{piece}b", f" {piece} ", piece + piece)
    ]  # fmt: skip
    assert set(asked[-4 * len(added) :]) & set(battery_for(spaced, reads_control=True))


def test_beginning_of_sequence_is_put_only_where_the_file_does_not(spaced: ByteBPETokenizer) -> None:
    form = huggingface_form(spaced.content, "x", bos_id=spaced.bos_id)
    assert form.encode("a") == spaced.encode("a", bos=True)
    assert huggingface_form(spaced.content, "x").encode("a") == spaced.encode("a")


def test_beginning_of_sequence_is_not_put_twice(tokenizer: SentencePieceTokenizer) -> None:
    form = huggingface_form(tokenizer_json(tokenizer), "x", bos_id=tokenizer.bos_id)
    assert form.encode("ab") == tokenizer.encode("ab", bos=True)


def test_only_hugging_faces_form_has_the_differences_by_design(tokenizer: SentencePieceTokenizer) -> None:
    assert huggingface_form(tokenizer_json(tokenizer), "x").reads_control
    assert not tokenizer_form(tokenizer).reads_control


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"model": 5}', b'{"model": {}}'])
def test_file_that_the_library_cannot_read_is_refused(content: bytes) -> None:
    with pytest.raises(TokenizerError, match=r"^bad: is not (a tokenizer\.json|JSON|UTF-8 text)"):
        huggingface_form(content, "bad")


def test_battery_is_the_same_each_time() -> None:
    strings = battery()
    assert strings == battery.__wrapped__()
    assert len(set(strings)) > 450
    assert not [s for s in strings if any(odd in s for odd in (SPACE, "<s>", "</s>", "<unk>", "<|"))]
    for text in strings:
        text.encode()
