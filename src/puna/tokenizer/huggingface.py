"""A tokenizer as Hugging Face's `tokenizer.json`, with its `tokenizer_config.json`.

A byte-level BPE is a tokenizer.json already. The class is `PreTrainedTokenizerFast`: transformers' own LlamaTokenizer,
even with our file, encodes every text that begins with a space differently from SentencePiece.
"""

import json
from pathlib import Path
from typing import Any

from puna.core.errors import TokenizerError
from puna.core.files import write_bytes
from puna.tokenizer.ends import Ends, template_of
from puna.tokenizer.sentencepiece import SPACE, SentencePieceTokenizer
from puna.tokenizer.sentencepiece_model import BPE
from puna.tokenizer.tokenizer import Tokenizer


def write_tokenizer_json(tokenizer: Tokenizer, path: Path) -> None:
    """Write `tokenizer.json`.

    Raises:
        TokenizerError: Hugging Face's library has no such tokenizer.
    """
    write_bytes(path, tokenizer_json(tokenizer))


def tokenizer_json(tokenizer: Tokenizer) -> bytes:
    """The content of `tokenizer.json`.

    Raises:
        TokenizerError: Hugging Face's library has no such tokenizer.
    """
    if isinstance(tokenizer, SentencePieceTokenizer):
        return (json.dumps(_sentencepiece_json(tokenizer), ensure_ascii=False) + "\n").encode()
    return tokenizer.content


def tokenizer_config(tokenizer: Tokenizer, context: int) -> dict[str, Any]:
    """The content of `tokenizer_config.json` for a model that was trained on `context` positions."""
    unk = {} if tokenizer.unk_id is None else {"unk_token": tokenizer.piece(tokenizer.unk_id)}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokenizer.piece(tokenizer.bos_id),
        "eos_token": tokenizer.piece(tokenizer.eos_id),
        **unk,
        "add_bos_token": tokenizer.add_bos,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
    }


def _sentencepiece_json(tokenizer: SentencePieceTokenizer) -> dict[str, Any]:
    """A BPE whose merges are rebuilt from the pieces and their scores.

    The dummy prefix and the writing of spaces are the normalizer, the byte pieces the model's byte fallback; there is
    no pre-tokenizer, because SentencePiece merges over the whole text.
    """
    if tokenizer.model_type != BPE:
        raise TokenizerError(
            f"{tokenizer.origin}: is a {tokenizer.title} model, and Puna writes tokenizer.json of a BPE only",
            hint="`--to llama` writes its tokenizer.model as it is",
        )
    if not tokenizer.lossless:
        raise TokenizerError(
            f"{tokenizer.origin}: changes spaces or characters before it encodes, and has no equal tokenizer.json"
        )
    vocabulary = {tokenizer.piece(token): token for token in range(tokenizer.vocab_size)}
    controls = [token for token in range(tokenizer.vocab_size) if tokenizer.is_control(token)]
    ends = Ends(tokenizer.piece(tokenizer.bos_id), tokenizer.piece(tokenizer.eos_id), tokenizer.add_bos)
    prepend = [{"type": "Prepend", "prepend": SPACE}] if tokenizer.space_prefix else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if tokenizer.space_prefix else []
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token, "content": tokenizer.piece(token), "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": token in controls,
            }
            for token in sorted([*controls, *tokenizer.added.values()])
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [*prepend, {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}],
        },
        "pre_tokenizer": None,
        "post_processor": template_of(ends, vocabulary),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                *strip,
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None if tokenizer.unk_id is None else tokenizer.piece(tokenizer.unk_id),
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": tokenizer.has_bytes,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": _merges(tokenizer, vocabulary),
        },
    }  # fmt: skip


def _merges(tokenizer: SentencePieceTokenizer, vocabulary: dict[str, int]) -> list[list[str]]:
    """Every way to join two pieces into a third, in the order in which SentencePiece prefers them.

    SentencePiece merges the adjacent pair whose union has the highest score, whatever the halves are; so each split of
    a piece into two pieces is a merge of that piece's rank.
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
