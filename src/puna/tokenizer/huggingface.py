"""The same tokenizer as Hugging Face's `tokenizer.json`, and the `tokenizer_config.json` that goes with it.

The class is `PreTrainedTokenizerFast`: transformers' own LlamaTokenizer, also over our file, writes every text that
begins with a space differently from SentencePiece.
"""

import json
from pathlib import Path
from typing import Any

from puna.core.files import write_text
from puna.tokenizer.tokenizer import SPACE, Tokenizer


def write_tokenizer_json(tokenizer: Tokenizer, path: Path) -> None:
    """Write `tokenizer.json`."""
    write_text(path, json.dumps(tokenizer_json(tokenizer), ensure_ascii=False) + "\n")


def tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of `tokenizer.json`: a BPE whose merges are rebuilt from the pieces and their scores.

    The dummy prefix and the writing of spaces are the normalizer, the byte pieces the model's byte fallback; there is
    no pre-tokenizer, because SentencePiece merges over the whole text.
    """
    vocabulary = {tokenizer.piece(token): token for token in range(tokenizer.vocab_size)}
    controls = [token for token in range(tokenizer.vocab_size) if tokenizer.is_control(token)]
    bos = tokenizer.piece(tokenizer.bos_id)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token, "content": tokenizer.piece(token), "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True,
            }
            for token in controls
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": SPACE},
                {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                {"SpecialToken": {"id": bos, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": bos, "type_id": 1}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {bos: {"id": bos, "ids": [tokenizer.bos_id], "tokens": [bos]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": tokenizer.piece(tokenizer.unk_id),
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": _merges(tokenizer, vocabulary),
        },
    }  # fmt: skip


def tokenizer_config(tokenizer: Tokenizer, context: int) -> dict[str, Any]:
    """The content of `tokenizer_config.json` for a model that was trained on `context` positions."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokenizer.piece(tokenizer.bos_id),
        "eos_token": tokenizer.piece(tokenizer.eos_id),
        "unk_token": tokenizer.piece(tokenizer.unk_id),
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
    }


def _merges(tokenizer: Tokenizer, vocabulary: dict[str, int]) -> list[list[str]]:
    """Every way to put a piece together from two others, in the order in which SentencePiece prefers them.

    SentencePiece merges the adjacent pair whose union has the highest score, whichever the two halves are; so each
    split of a piece into two pieces is a merge of that piece's rank.
    """
    merges = []
    for piece, token in vocabulary.items():
        if tokenizer.is_control(token) or tokenizer.is_byte(token):
            continue
        for cut in range(1, len(piece)):
            left, right = vocabulary.get(piece[:cut]), vocabulary.get(piece[cut:])
            if left is not None and right is not None:
                merges.append((-tokenizer.score(token), left, right, [piece[:cut], piece[cut:]]))
    merges.sort(key=lambda merge: merge[:3])
    return [pair for *_, pair in merges]
