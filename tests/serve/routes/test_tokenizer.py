"""Tokens over HTTP are the tokenizer's own."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from puna.tokenizer.bos import prompt_ids
from puna.tokenizer.tokenizer import Tokenizer


def posted(http: TestClient, path: str, **body: Any) -> dict[str, Any]:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_text_has_the_ids_that_a_prompt_has(http: TestClient, tokenizer: Tokenizer) -> None:
    told = posted(http, "/tokenize", prompt="The people", return_token_strs=True)
    ids = prompt_ids(tokenizer, "The people")
    assert told == {"count": len(ids), "max_model_len": 64, "tokens": ids, "token_strs": told["token_strs"]}
    assert "".join(told["token_strs"]) == "<s> The people"
    assert posted(http, "/tokenize", prompt="The people", add_special_tokens=False)["tokens"] == ids[1:]
    assert posted(http, "/tokenize", prompt="", model="other") == {
        "count": 1, "max_model_len": 32, "tokens": [tokenizer.bos_id], "token_strs": None,
    }  # fmt: skip


def test_the_text_of_a_control_token_is_read_as_asked(http: TestClient, tokenizer: Tokenizer) -> None:
    body = {"prompt": "</s>", "add_special_tokens": False}
    assert posted(http, "/tokenize", **body)["tokens"] == [tokenizer.eos_id]
    assert posted(http, "/tokenize", **body, parse_special=False)["tokens"] == tokenizer.encode("</s>")
    body["prompt"] = "a</s>"
    assert posted(http, "/tokenize", **body)["tokens"] == tokenizer.encode("a</s>")
    special = posted(http, "/tokenize", **body, parse_special=True)["tokens"]
    assert special == tokenizer.encode("a</s>", special=True)
    assert special[-1] == tokenizer.eos_id


def test_ids_are_read_back(http: TestClient, tokenizer: Tokenizer) -> None:
    ids = prompt_ids(tokenizer, "The people\n é")
    assert posted(http, "/detokenize", tokens=ids) == {"prompt": "The people\n é"}
    assert posted(http, "/detokenize", tokens=[]) == {"prompt": ""}


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([5, 512], "tokens has 512, but the vocabulary has 512 tokens"),
        ([-1], "tokens[0] is -1, but must be greater than or equal to 0"),
        (["a"], "tokens[0] is 'a', but must be a valid integer"),
    ],
)
def test_ids_that_are_not_tokens_are_refused(http: TestClient, tokens: list[Any], message: str) -> None:
    answer = http.post("/detokenize", json={"tokens": tokens})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == message


def test_a_tokenizer_says_what_it_is(http: TestClient, tokenizer: Tokenizer) -> None:
    told = http.get("/tokenizer_info", params={"model": "other"}).json()
    assert (told["model"], told["model_max_length"], told["vocab_size"]) == ("other", 32, 512)
    assert (told["bos_token"], told["eos_token"], told["unk_token"], told["pad_token"]) == (
        "<s>", "</s>", "<unk>", None,
    )  # fmt: skip
    assert (told["add_bos_token"], told["stop_token_ids"]) == (tokenizer.add_bos, [tokenizer.eos_id])
    assert http.get("/tokenizer_info").json()["model"] == "small"
