"""A tokenizer goes into GGUF's keys and comes back the same; llama.cpp itself gives the same ids with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from puna.core.errors import TokenizerError
from puna.formats.gguf.llama_server import LlamaServer
from puna.tokenizer.agreement import battery, battery_for, check_agreement, tokenizer_form
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.byte_level import SPLITS
from puna.tokenizer.gguf import gguf_metadata, read_gguf_tokenizer
from puna.tokenizer.gguf_header import read_header
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.sentencepiece import SPACE, SentencePieceTokenizer
from puna.tokenizer.sentencepiece_model import USER_DEFINED, Piece, add_no_bos
from puna.tokenizer.sentencepiece_model import write_model as proto
from puna.tokenizer.tokenizer import Tokenizer

KINDS = ["tokenizer", "llama", "byte_bpe", "spaced", "neox"]
Metadata = dict[str, Any]


@pytest.fixture(params=KINDS)
def any_kind(request: pytest.FixtureRequest) -> Tokenizer:
    return request.getfixturevalue(request.param)


def test_tokenizer_comes_back(any_kind: Tokenizer) -> None:
    metadata = gguf_metadata(any_kind, any_kind.vocab_size + 7)
    lists = [metadata[f"tokenizer.ggml.{name}"] for name in ("tokens", "token_type")]
    assert {len(values) for values in lists} == {any_kind.vocab_size + 7}
    assert len(set(lists[0])) == len(lists[0])
    again = read_gguf_tokenizer(metadata, "again")
    assert again is not None
    for name in ("kind", "vocab_size", "bos_id", "eos_id", "add_bos", "space_prefix", "added"):
        assert getattr(again, name) == getattr(any_kind, name)
    assert [again.piece(i) for i in range(again.vocab_size)] == [any_kind.piece(i) for i in range(again.vocab_size)]
    assert check_agreement(any_kind, {"gguf": tokenizer_form(again)})["disagreements"] == []


def test_padding_is_unused_tokens_with_names(byte_bpe: ByteBPETokenizer, tokenizer: SentencePieceTokenizer) -> None:
    for each in (byte_bpe, tokenizer):
        metadata = gguf_metadata(each, 1002)
        assert metadata["tokenizer.ggml.tokens"][1000:] == ["[PAD1000]", "[PAD1001]"]
        assert metadata["tokenizer.ggml.token_type"][1000:] == [5, 5]
    assert len(metadata["tokenizer.ggml.scores"]) == 1002


def test_keys_say_what_llama_cpp_needs(
    llama: SentencePieceTokenizer, neox: ByteBPETokenizer, vocabulary_file: Callable[[str], Path]
) -> None:
    ours, theirs = gguf_metadata(llama, 32000), read_header(vocabulary_file("llama-spm")).metadata
    for key, value in theirs.items():
        if key.startswith("tokenizer."):
            assert ours[key] == value, key
    assert ours["tokenizer.ggml.add_space_prefix"] is True
    metadata = gguf_metadata(neox, 50277)
    assert (metadata["tokenizer.ggml.model"], metadata["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    assert metadata["tokenizer.ggml.add_bos_token"] is False
    assert metadata["tokenizer.ggml.add_space_prefix"] is False
    assert [metadata["tokenizer.ggml.token_type"][token] for token in (0, 1, 2, 50254, 50276)] == [3, 3, 1, 4, 4]


def test_model_that_begins_no_text_stays_so(tokenizer: SentencePieceTokenizer) -> None:
    silent = SentencePieceTokenizer(add_no_bos(tokenizer.content))
    metadata = gguf_metadata(silent, 1000)
    assert metadata["tokenizer.ggml.add_bos_token"] is False
    again = read_gguf_tokenizer(metadata, "again")
    assert again is not None
    assert not again.add_bos


def test_file_without_a_tokenizer_has_none() -> None:
    assert read_gguf_tokenizer({"general.architecture": "llama"}, "x") is None
    assert read_gguf_tokenizer({"tokenizer.ggml.model": "no_vocab"}, "x") is None


def test_old_file_that_names_no_split_is_read_as_llama_cpp_reads_it(byte_bpe: ByteBPETokenizer) -> None:
    metadata = gguf_metadata(byte_bpe, 1000)
    del metadata["tokenizer.ggml.pre"]
    again = read_gguf_tokenizer(metadata, "again")
    assert isinstance(again, ByteBPETokenizer)
    assert again.patterns == SPLITS["default"].patterns


@pytest.mark.parametrize(("name", "adds"), [("llama-bpe", True), ("gpt-2", False), ("smollm", False)])
def test_beginning_token_is_as_llama_cpp_has_it_where_the_file_is_silent(
    byte_bpe: ByteBPETokenizer, name: str, adds: bool
) -> None:
    metadata = gguf_metadata(byte_bpe, 1000) | {"tokenizer.ggml.pre": name}
    del metadata["tokenizer.ggml.add_bos_token"]
    again = read_gguf_tokenizer(metadata, "again")
    assert again is not None
    assert again.add_bos == adds


def change(**values: Any) -> Callable[[Metadata], None]:
    """Sets `tokenizer.ggml.` keys, or takes them away where the value is None."""

    def apply(metadata: Metadata) -> None:
        for name, value in values.items():
            metadata[f"tokenizer.ggml.{name}"] = value
            if value is None:
                del metadata[f"tokenizer.ggml.{name}"]

    return apply


@pytest.mark.parametrize(
    ("vocabulary", "damage", "reason"),
    [
        ("byte_bpe", change(model="bert"), "of the kind 'bert', Puna reads 'llama' and 'gpt2'"),
        ("byte_bpe", change(pre="viking"), "splits text in the way 'viking', Puna knows gpt-2"),
        ("byte_bpe", change(pre=["gpt-2"]), "splits text in the way ['gpt-2']"),
        ("byte_bpe", change(merges=None), "no list tokenizer.ggml.merges"),
        ("byte_bpe", change(merges=["no such"]), "is not a tokenizer.json, or a damaged one"),
        ("byte_bpe", change(add_space_prefix=True), "puts a space before texts"),
        ("byte_bpe", change(tokens=None), "no list tokenizer.ggml.tokens"),
        ("byte_bpe", change(tokens=["a", "a"], token_type=[1, 1]), "has a token twice"),
        ("byte_bpe", change(token_type=[1, 1]), "has 1000 tokens and 2 types"),
        ("byte_bpe", change(bos_token_id=1000), "bos_token_id = 1000, expected an id below 1000"),
        ("byte_bpe", change(eos_token_id=-1), "eos_token_id = -1, expected an id below 1000"),
        ("byte_bpe", change(add_bos_token=7), "add_bos_token = 7, expected true or false"),
        ("tokenizer", change(scores=None), "no list tokenizer.ggml.scores"),
        ("tokenizer", change(scores=[0.0]), "has 1000 tokens and 1 scores"),
        ("tokenizer", change(scores=["0"] * 1000), "no list tokenizer.ggml.scores"),
        (
            "tokenizer",
            change(scores=[0.0] * 999 + [1e300]),
            "has the score 1e+300, expected a number that float32 holds",
        ),
        ("tokenizer", change(scores=[float("nan")] * 1000), "has the score nan, expected"),
        ("tokenizer", change(token_type=[1] * 1000), "has no token that ends a text"),
        ("tokenizer", change(remove_extra_whitespaces=True), "merges spaces"),
        ("tokenizer", change(add_space_prefix=5), "merges spaces, or has an add_space_prefix"),
        ("tokenizer", change(unknown_token_id=10**9), "unknown_token_id = 1000000000"),
    ],
)
def test_what_is_damaged_or_unknown_is_refused(
    vocabulary: str, damage: Callable[[Metadata], None], reason: str, request: pytest.FixtureRequest
) -> None:
    metadata = gguf_metadata(request.getfixturevalue(vocabulary), 1000)
    damage(metadata)
    with pytest.raises(TokenizerError) as caught:
        read_gguf_tokenizer(metadata, "some.gguf")
    assert caught.value.message.startswith("some.gguf: ")
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("normalizer", {"type": "NFC"}, r"composes characters \(NFC\)"),
        (
            "pre_tokenizer",
            {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": "[aeiou]"}, "behavior": "Isolated", "invert": False},
                    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                ],
            },
            "for which llama.cpp has no name",
        ),
    ],
)
def test_what_llama_cpp_cannot_do_is_refused(byte_bpe: ByteBPETokenizer, name: str, value: Any, reason: str) -> None:
    other = ByteBPETokenizer(json.dumps(json.loads(byte_bpe.content) | {name: value}).encode(), "other.json")
    with pytest.raises(TokenizerError, match=f"^other.json: .*{reason}"):
        gguf_metadata(other, 1000)


def with_symbol(tokenizer: SentencePieceTokenizer, *, prefix: bool) -> SentencePieceTokenizer:
    """The same with one more piece, which is found before anything else."""
    pieces = [*tokenizer.pieces, Piece("<im>", 0.0, USER_DEFINED)]
    return SentencePieceTokenizer(proto(pieces, unk="<unk>", bos="<s>", eos="</s>", space_prefix=prefix), "symbol")


def test_symbols_behind_which_llama_cpp_puts_a_space_are_refused(tokenizer: SentencePieceTokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"^symbol: has user-defined .* '<im>', and llama\.cpp would put"):
        gguf_metadata(with_symbol(tokenizer, prefix=True), 1001)


def write_model(path: Path, metadata: Metadata) -> None:
    """A LLaMA of one narrow layer with this tokenizer; its weights are zero."""
    vocab, dim = len(metadata["tokenizer.ggml.tokens"]), 32
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(dim)
    writer.add_block_count(1)
    writer.add_feed_forward_length(dim)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    for key, value in metadata.items():
        if not isinstance(value, list):
            kind = gguf.GGUFValueType.get_type(value)
            writer.add_key_value(key, value, gguf.GGUFValueType.UINT32 if type(value) is int else kind)
        elif key.endswith("token_type"):
            writer.add_array(key, np.array(value, dtype=np.int32).tolist())
        else:
            writer.add_array(key, value)
    shapes = {"token_embd": (vocab, dim), "output_norm": (dim,), "output": (vocab, dim)}
    shapes |= {f"blk.0.{name}": (dim,) for name in ("attn_norm", "ffn_norm")}
    shapes |= {f"blk.0.{name}": (dim, dim) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    shapes |= {f"blk.0.{name}": (dim, dim) for name in ("ffn_gate", "ffn_up", "ffn_down")}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def assert_llama_cpp_agrees(path: Path, tokenizer: Tokenizer, strings: list[str]) -> None:
    pytest.importorskip("xllamacpp")
    with LlamaServer(path) as server:
        for text in strings:
            if "\0" in text or (tokenizer.kind == "sentencepiece" and SPACE in text):
                continue  # it ends a text at NUL, and reads U+2581 as a space
            body = {"content": text, "add_special": True, "parse_special": False}
            theirs = server.ask("tokenize", body)["tokens"]
            assert theirs == tokenizer.encode(text, bos=tokenizer.add_bos), text


@pytest.mark.oracle
@pytest.mark.parametrize("vocabulary", [*KINDS, "llama3"])
def test_llama_cpp_gives_the_same_ids(vocabulary: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(vocabulary)
    path = tmp_path / "model.gguf"
    write_model(path, gguf_metadata(tokenizer, tokenizer.vocab_size + 5))
    assert_llama_cpp_agrees(path, tokenizer, battery_for(tokenizer, reads_control=False))


@pytest.mark.oracle
def test_llama_cpp_finds_the_same_symbols(tokenizer: SentencePieceTokenizer, tmp_path: Path) -> None:
    symbol = with_symbol(tokenizer, prefix=False)
    path = tmp_path / "model.gguf"
    write_model(path, gguf_metadata(symbol, 1001))
    assert_llama_cpp_agrees(path, symbol, ["a<im>b", "<im>b", "a <im> b", "<im><im>"])


@pytest.mark.oracle
def test_llama_cpp_reads_added_tokens_and_chats_alike(tokenizer: SentencePieceTokenizer, tmp_path: Path) -> None:
    entries = {
        str(1000 + place): {"content": text, "special": special}
        for place, (text, special) in enumerate([("<|im_end|>", True), ("<|im_start|>", True), ("<tool>", False)])
    }
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.content)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": entries}))
    chat = load_tokenizer(tmp_path, rows=1003, stop_ids=[1000])
    path = tmp_path / "model.gguf"
    write_model(path, gguf_metadata(chat, 1008))
    texts = [
        "<|im_start|>user\nHi  there<|im_end|>\n<|im_start|>",
        "a<tool>b <tool><tool> c",
        " <|im_end|> a",
        "<tool> x",
    ]
    assert_llama_cpp_agrees(path, chat, texts)
    pytest.importorskip("xllamacpp")
    with LlamaServer(path) as server:
        for text in texts:
            theirs = server.ask("tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]
            assert theirs == chat.encode(text, bos=True, special=True), text


@pytest.mark.oracle
@pytest.mark.parametrize("name", SPLITS)
def test_llama_cpp_splits_as_its_names_say(name: str, byte_bpe: ByteBPETokenizer, tmp_path: Path) -> None:
    metadata = gguf_metadata(byte_bpe, 1000) | {"tokenizer.ggml.pre": name}
    tokenizer = read_gguf_tokenizer(metadata, name)
    assert tokenizer is not None
    path = tmp_path / "model.gguf"
    write_model(path, metadata)
    assert_llama_cpp_agrees(path, tokenizer, list(battery()[:90]))
