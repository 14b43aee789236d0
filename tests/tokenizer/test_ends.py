"""The ends of a text are read from each place where Hugging Face's files have them, and kept."""

import json
from typing import Any

import pytest
import tokenizers

from puna.core.errors import TokenizerError
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.ends import Ends, read_ends, template_of

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}


def special(*names: str) -> list[dict[str, Any]]:
    return [{"id": number, "content": name, "special": True} for number, name in enumerate(names)]


def llama_3() -> dict[str, Any]:
    """The post-processor of Llama 3's own tokenizer.json."""
    bos = "<|begin_of_text|>"
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [
            {"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}},
        ],
        "special_tokens": {bos: {"id": bos, "ids": [128000], "tokens": [bos]}},
    }  # fmt: skip
    names = special(bos, "<|end_of_text|>", "<|eot_id|>")
    return {"added_tokens": names, "post_processor": {"type": "Sequence", "processors": [BYTE_LEVEL, template]}}


NEOX = {"added_tokens": special("<|endoftext|>", "<|padding|>"), "post_processor": BYTE_LEVEL}
LLAMA = {"added_tokens": special("<unk>", "<s>", "</s>"), "post_processor": None}
SMOLLM = {"added_tokens": special("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "post_processor": None}
SMOLLM_CONFIG = {"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>", "lstrip": False}}


@pytest.mark.parametrize(
    ("data", "config", "ends"),
    [
        pytest.param(llama_3(), None, Ends("<|begin_of_text|>", "<|end_of_text|>", True), id="Llama 3"),
        pytest.param(
            llama_3(), {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
            Ends("<|begin_of_text|>", "<|eot_id|>", True), id="Llama 3 Instruct",
        ),
        pytest.param(NEOX, None, Ends("<|endoftext|>", "<|endoftext|>", False), id="GPT-NeoX"),
        pytest.param(NEOX, {"add_bos_token": True}, Ends("<|endoftext|>", "<|endoftext|>", True), id="asked for"),
        pytest.param(LLAMA, None, Ends("<s>", "</s>", False), id="names alone"),
        pytest.param(LLAMA, {"add_bos_token": True}, Ends("<s>", "</s>", True), id="LLaMA"),
        pytest.param(SMOLLM, SMOLLM_CONFIG, Ends("<|im_start|>", "<|im_end|>", False), id="SmolLM2 Instruct"),
        pytest.param(SMOLLM, None, Ends("<|endoftext|>", "<|endoftext|>", False), id="SmolLM2"),
        pytest.param(
            SMOLLM, {"bos_token": None, "eos_token": "<|im_end|>"}, Ends("<|im_end|>", "<|im_end|>", False), id="no BOS"
        ),
        pytest.param(
            llama_3(), {"add_bos_token": False}, Ends("<|begin_of_text|>", "<|end_of_text|>", False), id="switched off"
        ),
    ],
)  # fmt: skip
def test_ends_are_read(data: dict[str, Any], config: dict[str, Any] | None, ends: Ends) -> None:
    if config == {"bos_token": None, "eos_token": "<|im_end|>"}:
        data = data | {"added_tokens": special("<|im_start|>", "<|im_end|>")}
    assert read_ends(data, config, "x") == ends


def test_nothing_that_ends_a_text_is_refused() -> None:
    with pytest.raises(TokenizerError, match=r"^x: does not say which token ends a text\n") as caught:
        read_ends({"added_tokens": special("<one>"), "post_processor": None}, {"bos_token": "<one>"}, "x")
    assert "tokenizer_config.json" in caught.value.hint


@pytest.mark.parametrize("add_bos", [True, False])
def test_template_keeps_them(byte_bpe: ByteBPETokenizer, add_bos: bool) -> None:
    ends = Ends("<|padding|>", "<|endoftext|>", add_bos)
    data = json.loads(byte_bpe.content)
    data["post_processor"] = template_of(ends, data["model"]["vocab"])
    assert read_ends(data, None, "x") == ends
    theirs = tokenizers.Tokenizer.from_str(json.dumps(data))
    first = [1] if add_bos else []
    a, b = byte_bpe.encode("one"), byte_bpe.encode(" two")
    assert theirs.encode("one").ids == [*first, *a]
    assert theirs.encode("one", " two").ids == [*first, *a, *first, *b]
    assert read_ends(json.loads(theirs.to_str()), None, "x") == ends


def test_what_only_the_config_says_stays_with_the_tokenizer(byte_bpe: ByteBPETokenizer) -> None:
    config = {"bos_token": "<|padding|>", "eos_token": "<|endoftext|>", "add_bos_token": False}
    told = ByteBPETokenizer(byte_bpe.content, config=config)
    alone = ByteBPETokenizer(told.content)
    for tokenizer in (told, alone):
        assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.add_bos) == (1, 0, False)
    assert told.content == alone.content != byte_bpe.content
    same = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "add_bos_token": True}
    assert ByteBPETokenizer(byte_bpe.content, config=same).content == byte_bpe.content
