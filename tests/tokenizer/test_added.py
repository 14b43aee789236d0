"""Tokens that lie beside a tokenizer, in every layout that Hugging Face's files have had."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from puna.core.errors import TokenizerError
from puna.tokenizer.added import AddedToken, read_beside
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.gguf import gguf_metadata, read_gguf_tokenizer
from puna.tokenizer.huggingface import tokenizer_config, tokenizer_json
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.sentencepiece import SentencePieceTokenizer

END, START, TOOL = "<|im_end|>", "<|im_start|>", "<tool>"
FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
ADDED = [
    {"id": 1000, "content": END, "special": True, **FLAGS},
    {"id": 1001, "content": START, "special": True, **FLAGS},
    {"id": 1002, "content": TOOL, "special": False, **FLAGS},
]


def write(directory: Path, name: str, value: Any) -> None:
    (directory / name).write_text(json.dumps(value))


def lay_out(layout: str, directory: Path, tokenizer: SentencePieceTokenizer) -> None:
    """A tokenizer.model of 1000 pieces, and three tokens beside it."""
    (directory / "tokenizer.model").write_bytes(tokenizer.content)
    config = tokenizer_config(tokenizer, 64) | {"eos_token": END}
    data = json.loads(tokenizer_json(tokenizer))
    data["added_tokens"] += ADDED
    match layout:
        case "tokenizer.json":
            write(directory, "tokenizer.json", data)
        case "added_tokens_decoder":
            config["added_tokens_decoder"] = {str(token["id"]): token for token in ADDED}
        case "added_tokens.json":  # before transformers 4.34
            write(directory, "added_tokens.json", {token["content"]: token["id"] for token in ADDED})
            write(
                directory, "special_tokens_map.json",
                {"eos_token": {"content": END, "lstrip": False}, "additional_special_tokens": [START]},
            )  # fmt: skip
            del config["eos_token"]
        case "tokenizer.json alone":
            write(directory, "tokenizer.json", data)
            (directory / "tokenizer.model").unlink()
    write(directory, "tokenizer_config.json", config)


LAYOUTS = ["tokenizer.json", "added_tokens_decoder", "added_tokens.json", "tokenizer.json alone"]
CHAT = f"{START}user\nHello  there{END}\n{START}assistant\n a{TOOL}b {TOOL} {TOOL}{TOOL}"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_added_tokens_become_pieces_of_their_kind_in_every_form(
    layout: str, tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    """Ids are the library's, with special tokens and without, and stay through tokenizer.model, JSON and GGUF."""
    lay_out(layout, tmp_path, tokenizer)
    chat = load_tokenizer(tmp_path, rows=1003, stop_ids=[1000])
    assert isinstance(chat, SentencePieceTokenizer)
    assert (chat.vocab_size, chat.eos_id, chat.stops, chat.notes) == (1003, 1000, (1000,), [])
    assert chat.added == {TOOL: 1002}
    assert [chat.is_control(token) for token in (1000, 1001, 1002)] == [True, True, False]
    data = json.loads(tokenizer_json(tokenizer))
    library = tokenizers.Tokenizer.from_str(json.dumps(data | {"added_tokens": data["added_tokens"] + ADDED}))
    texts = [CHAT, f"a{TOOL}b", f"{TOOL} a", f" {TOOL}", f"{END}", f"a{END}b", "plain  text\n", ""]
    for text in texts:
        assert chat.encode(text, special=True) == library.encode(text, add_special_tokens=False).ids, text
        plain = text.replace(END, "x").replace(START, "y")
        assert chat.encode(plain) == library.encode(plain, add_special_tokens=False).ids
    assert not {1000, 1001} & set(chat.encode(CHAT))  # text of a control token is text
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "tokenizer.model").write_bytes(chat.content)
    write(tmp_path / "alone", "tokenizer_config.json", {})
    metadata = gguf_metadata(chat, 1008)
    assert [metadata["tokenizer.ggml.token_type"][token] for token in (1000, 1001, 1002, 1003)] == [3, 3, 4, 5]
    assert metadata["tokenizer.ggml.eos_token_id"] == 1000
    for again in (load_tokenizer(tmp_path / "alone"), read_gguf_tokenizer(metadata, "gguf")):
        assert again is not None
        assert (again.vocab_size, again.eos_id, again.stops) == (1003, 1000, (1000,))
        for text in texts:
            assert again.encode(text) == chat.encode(text)
            assert again.encode(text, special=True) == chat.encode(text, special=True)
    again = tokenizers.Tokenizer.from_str(tokenizer_json(chat).decode())
    assert all(again.encode(text).ids == chat.encode(text, bos=True, special=True) for text in texts)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tokens_without_an_embedding_are_left_out_with_a_note(
    layout: str, tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    lay_out(layout, tmp_path, tokenizer)
    chat = load_tokenizer(tmp_path, rows=1001)
    assert (chat.vocab_size, chat.added) == (1001, {})
    assert chat.notes == [
        "left out 2 added tokens for which the model has no embedding, the first is '<|im_start|>' (1001)"
    ]


def test_the_model_s_own_end_of_a_text_counts_and_must_be_there(
    tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.content)
    with pytest.raises(TokenizerError, match=r"has 1000 tokens and none that is 1000, at which the model ends a text"):
        load_tokenizer(tmp_path, rows=1002, stop_ids=[1000])
    with pytest.raises(TokenizerError, match=r"none that is 1000 and 1 more"):
        load_tokenizer(tmp_path, rows=1002, stop_ids=[1000, 1001])
    with pytest.raises(TokenizerError, match=r"has 1000 tokens and none that is 1001, at which"):  # the other is old
        load_tokenizer(tmp_path, rows=1002, stop_ids=[1001, 2])
    assert load_tokenizer(tmp_path, rows=1000, stop_ids=[2, 1001]).notes == [
        "the model's files end a text at 1001, too, which is not a token"
    ]
    assert load_tokenizer(tmp_path, stop_ids=[2]).content == tokenizer.content
    lay_out("added_tokens_decoder", tmp_path, tokenizer)
    several = load_tokenizer(tmp_path, stop_ids=[2, 1000, 1001])
    assert (several.eos_id, several.stops) == (1000, (1000, 2, 1001))
    assert gguf_metadata(several, 1003)["tokenizer.ggml.eot_token_id"] == 2
    back = read_gguf_tokenizer(gguf_metadata(several, 1003), "back")
    assert back is not None
    assert back.stops == several.stops


def test_several_ends_of_a_byte_level_tokenizer_stay(byte_bpe: ByteBPETokenizer, tmp_path: Path) -> None:
    data = json.loads(byte_bpe.content)
    data["added_tokens"] += [token for token in ADDED if token["special"]]
    write(tmp_path, "tokenizer.json", data)
    write(tmp_path, "tokenizer_config.json", {"eos_token": END, "added_tokens_decoder": {"1002": ADDED[2]}})
    chat = load_tokenizer(tmp_path, rows=1003, stop_ids=[0, 1000])
    assert (chat.eos_id, chat.stops, chat.added) == (1000, (1000, 0), {TOOL: 1002})
    assert chat.encode(f"a{END}", special=True)[-1] == 1000
    assert chat.encode(f"a{TOOL}b")[1] == 1002
    assert ByteBPETokenizer(chat.content).stops == chat.stops
    back = read_gguf_tokenizer(gguf_metadata(chat, 1003), "back")
    assert back is not None
    assert back.stops == chat.stops


def test_what_takes_spaces_away_or_renames_a_piece_is_noted(tokenizer: SentencePieceTokenizer, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.content)
    entries = {
        "1002": ADDED[2] | {"lstrip": True, "rstrip": True, "normalized": True},  # with a hole before it
        "700": {"content": "<|inside|>", "special": True},
    }
    write(tmp_path, "tokenizer_config.json", {"added_tokens_decoder": entries})
    found = load_tokenizer(tmp_path)
    assert found.notes == [
        f"token 700 is '<|inside|>', as a file beside the model says, not {tokenizer.piece(700)!r}",
        "'<tool>' is found without regard to lstrip, rstrip, as llama.cpp does",
    ]
    assert found.encode("<|inside|>", special=True) == [700]
    assert (found.piece(1000), found.vocab_size) == ("[PAD1000]", 1003)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"5": {"content": "<x>", "special": True}}, "has <0x02> as 5, and a file beside it '<x>'"),
        ({"1000": {"content": "<s>", "special": True}}, "has '<s>', and a file beside it gives that the id 1000, too"),
        ({"10000000": {"content": "<x>"}}, "adds '<x>' as 10000000"),
        ({"-1": {"content": "<x>"}}, "has an added token '<x>' with the id -1"),
        ({"1000": {"content": ""}}, "has an added token '' with the id 1000"),
        ({"one": {"content": "<x>"}}, "added_tokens_decoder is damaged"),
        ([1], "added_tokens_decoder is damaged"),
    ],
)
def test_added_tokens_that_contradict_the_model_are_refused(
    tokenizer: SentencePieceTokenizer, tmp_path: Path, entries: Any, sentence: str
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.content)
    write(tmp_path, "tokenizer_config.json", {"added_tokens_decoder": entries})
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(tmp_path)
    assert sentence in caught.value.message


def test_a_tokenizer_json_of_another_model_adds_nothing(
    tokenizer: SentencePieceTokenizer, byte_bpe: ByteBPETokenizer, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_bytes(byte_bpe.content)
    beside = read_beside(tmp_path, [piece.text for piece in tokenizer.pieces])
    assert beside.added == {}
    assert beside.notes == ("tokenizer.json is another tokenizer; its added tokens were left out",)
    write(tmp_path, "added_tokens.json", {"<x>": 7})
    write(tmp_path, "tokenizer_config.json", {"added_tokens_decoder": {"7": {"content": "<y>"}}})
    beside = read_beside(tmp_path)
    assert beside.added == {7: AddedToken("<y>", special=False)}
    assert beside.notes == ("added_tokens.json calls token 7 '<x>'; '<y>' was taken",)


@pytest.mark.parametrize("value", [5, "<a>", True, {"a": None}, [None, 5], [[]]])
def test_special_tokens_of_another_type_are_passed_over(
    value: Any, tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.content)
    write(tmp_path, "tokenizer_config.json", {"additional_special_tokens": value, "eos_token": "<|end|>"})
    assert load_tokenizer(tmp_path).notes == [
        "'<|end|>', the eos_token of a file beside the model, is not a token; '</s>' is taken"
    ]
