"""The guard of every export: it passes for the same tokenizer and catches each way to get it wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from puna.tokenizer.agreement import battery, check_agreement
from puna.tokenizer.huggingface import tokenizer_json, write_tokenizer_json
from puna.tokenizer.tokenizer import SPACE, Tokenizer

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


@pytest.mark.parametrize("vocabulary", ["tokenizer", "llama"])
def test_the_same_tokenizer_agrees(vocabulary: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(vocabulary)
    write_tokenizer_json(tokenizer, tmp_path / "tokenizer.json")
    assert check_agreement(tokenizer, tmp_path / "tokenizer.json") == {"strings": len(battery()), "disagreements": []}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_tokenizer_is_caught(tokenizer: Tokenizer, tmp_path: Path, name: str) -> None:
    content = tokenizer_json(tokenizer)
    WRONG[name](content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    disagreements = check_agreement(tokenizer, tmp_path / "tokenizer.json")["disagreements"]
    assert disagreements
    first = disagreements[0]
    assert first["puna"] == tokenizer.encode(first["text"], bos=True)
    assert first["huggingface"] != first["puna"] or first["decoded"] != first["text"]


def test_the_tokenizer_of_other_text_is_caught(tokenizer: Tokenizer, llama: Tokenizer, tmp_path: Path) -> None:
    write_tokenizer_json(llama, tmp_path / "tokenizer.json")
    assert check_agreement(tokenizer, tmp_path / "tokenizer.json")["disagreements"]


def test_battery_is_the_same_each_time_and_has_no_difference_by_design() -> None:
    strings = battery()
    again = battery.__wrapped__()
    assert strings == again
    assert len(set(strings)) > 350
    assert not [s for s in strings if any(odd in s for odd in (SPACE, "<s>", "</s>", "<unk>"))]


def test_every_string_of_the_battery_comes_back(tokenizer: Tokenizer) -> None:
    for string in battery():
        assert tokenizer.decode(tokenizer.encode(string)) == string
