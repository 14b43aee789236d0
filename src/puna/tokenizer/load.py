"""The tokenizer in a file or directory of any form, recognised by its content and not by its name."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from puna.core.bounded import open_regular, parse_json, read_bounded
from puna.core.errors import TokenizerError
from puna.tokenizer.added import LARGEST, Beside, left_out, read_beside
from puna.tokenizer.byte_bpe import ByteBPETokenizer, is_byte_level
from puna.tokenizer.gguf import read_gguf_tokenizer
from puna.tokenizer.gguf_header import MAGIC, read_header
from puna.tokenizer.json_parts import check_parts
from puna.tokenizer.llama2c import read_tokenizer_bin
from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.sentencepiece_added import extended
from puna.tokenizer.sentencepiece_json import is_sentencepiece_like, read_sentencepiece_json
from puna.tokenizer.sentencepiece_model import add_no_bos
from puna.tokenizer.tiktoken import is_tiktoken, read_tiktoken
from puna.tokenizer.tokenizer import Tokenizer

NAMES = ("tokenizer.model", "tokenizer.json")
"""Names of a directory's tokenizer, in the order in which they are tried."""

_OTHERS = {
    "tekken.json": "Mistral's tekken.json",
    "vocab.json": "vocab.json and merges.txt, GPT-2's older form",
    "vocab.txt": "vocab.txt, a WordPiece vocabulary",
    "tokenizer.model.v3": "tokenizer.model.v3, which --tokenizer can name",
    "spiece.model": "spiece.model, which --tokenizer can name",
    "sentencepiece.bpe.model": "sentencepiece.bpe.model, which --tokenizer can name",
}
"""Files of tokenizers that a directory may have instead."""


def load_tokenizer(path: Path, *, rows: int | None = None, stop_ids: Sequence[int] = ()) -> Tokenizer:
    """The tokenizer in a file, or in a directory that holds one.

    A file is SentencePiece's, Hugging Face's tokenizer.json, Llama 3's list of ranks or a GGUF file; or llama2.c's
    tokenizer.bin, which nothing in it shows, so that its name must end in .bin. Of the files beside it count the tokens
    that were added to it, which tokens begin and end a text, and whether encoders put the first.

    Args:
        path: The file or directory.
        rows: Embeddings of the model; added tokens without one are left out, with a note.
        stop_ids: The tokens at which the model's own files (config.json) end a text.

    Raises:
        TokenizerError: There is none, it is not one that Puna can use, or it has none of `stop_ids`.
        FormatError: It is a damaged GGUF file.
    """
    file = path
    if path.is_dir():
        if (found := find_tokenizer(path)) is None:
            other = other_tokenizer(path)
            raise TokenizerError(
                f"{path}: holds no tokenizer, neither {' nor '.join(NAMES)}" + (f", but {other}" if other else "")
            )
        file = found
    tokenizer = _load(file, rows, stop_ids)
    _check_stops(tokenizer, file, rows, stop_ids)
    return tokenizer


def _check_stops(tokenizer: Tokenizer, file: Path, rows: int | None, stop_ids: Sequence[int]) -> None:
    """Refuse a tokenizer without a token at which the model can end a text; note those that the model has not either.

    Raises:
        TokenizerError: It lacks one.
    """
    lacking = [token for token in stop_ids if token not in tokenizer.stops]
    if len(lacking) < len(stop_ids):  # one that has no embedding, as old files list it, is never generated
        idle = [token for token in lacking if rows is None or token >= rows]
        lacking = [token for token in lacking if token not in idle]
        if idle:
            tokenizer.notes.append(
                f"the model's files end a text at {', '.join(map(str, idle[:5]))}, too, which is not a token"
            )
    if lacking:
        first, more = lacking[0], "" if len(lacking) == 1 else f" and {len(lacking) - 1} more"
        raise TokenizerError(
            f"{file}: has {tokenizer.vocab_size} tokens and none that is {first}{more}, at which the model ends a text",
            hint="name the model's own tokenizer with --tokenizer, or import the weights alone: "
            "`puna import --no-tokenizer`",
        )


def find_tokenizer(directory: Path) -> Path | None:
    """The file of the tokenizer in a directory, if there is one."""
    return next((directory / name for name in NAMES if (directory / name).exists()), None)


def other_tokenizer(directory: Path) -> str | None:
    """A tokenizer's file in a directory that Puna doesn't look for or cannot read, in words; None if there is none."""
    return next((words for name, words in _OTHERS.items() if (directory / name).exists()), None)


def _load(file: Path, rows: int | None, stop_ids: Sequence[int]) -> Tokenizer:
    with open_regular(file, TokenizerError) as opened:
        magic = opened.read(len(MAGIC))
    if magic == MAGIC:
        if (tokenizer := read_gguf_tokenizer(read_header(file).metadata, str(file))) is None:
            raise TokenizerError(f"{file}: has no tokenizer")
        return tokenizer
    content, origin = read_bounded(file, LARGEST, TokenizerError), str(file)
    if file.suffix == ".bin":
        return read_tokenizer_bin(file)
    if is_tiktoken(content):
        return read_tiktoken(content, origin)
    if content.lstrip()[:1] == b"{" or file.suffix == ".json":
        return _read_json(content, origin, read_beside(file.parent).within(rows), rows, stop_ids)
    tokenizer = SentencePieceTokenizer(content, origin)
    beside = read_beside(file.parent, [piece.text for piece in tokenizer.pieces]).within(rows)
    if tokenizer.add_bos and (beside.config or {}).get("add_bos_token") is False:
        tokenizer = SentencePieceTokenizer(add_no_bos(content), origin)
    return extended(tokenizer, beside, stop_ids)


def _read_json(content: bytes, origin: str, beside: Beside, rows: int | None, stop_ids: Sequence[int]) -> Tokenizer:
    data = parse_json(content, origin, TokenizerError)
    _refuse_other_files(data, origin)
    check_parts(data, origin)
    if not is_byte_level(data) and not is_sentencepiece_like(data):
        raise TokenizerError(
            f"{origin}: is not a tokenizer.json of a byte-level BPE, nor of a BPE with SentencePiece's spaces"
        )
    notes = list(beside.notes)
    if _with_added(data, beside, rows, notes):
        content = json.dumps(data, ensure_ascii=False).encode()
    config = _with_stops(data, beside.config, stop_ids)
    if is_byte_level(data):
        tokenizer: Tokenizer = ByteBPETokenizer(content, origin, config)
    else:
        tokenizer = extended(read_sentencepiece_json(data, content, origin, config), Beside(config=config), stop_ids)
    tokenizer.notes += notes
    return tokenizer


def _refuse_other_files(data: Any, origin: str) -> None:
    """Name JSON files of tokenizers that are not a tokenizer.json."""
    if isinstance(data, dict) and "model" not in data:
        if {"config", "vocab"} <= data.keys():
            raise TokenizerError(
                f"{origin}: is Mistral's tekken.json, which Puna does not read",
                hint="take the tokenizer.json that transformers writes for it",
            )
        if data and all(type(token) is int for token in data.values()):
            raise TokenizerError(
                f"{origin}: is a vocabulary without its merges, GPT-2's older form",
                hint="let transformers write a tokenizer.json: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
            )


def _with_added(data: dict[str, Any], beside: Beside, rows: int | None, notes: list[str]) -> bool:
    """Put the added tokens of the files beside a tokenizer.json into it; whether that changed it.

    Tokens without an embedding go; ordinary ones lose what would take spaces away or depends on the normalizer.
    """
    try:
        entries = list(data.get("added_tokens") or [])
        vocabulary = data["model"]["vocab"]
        beyond = [entry for entry in entries if rows is not None and entry["id"] >= rows]
        beyond = [entry for entry in beyond if entry["content"] not in vocabulary]
        kept = [entry for entry in entries if entry not in beyond]
        there = {entry["id"] for entry in kept}
        kept += [
            {"id": token, "content": added.text, "special": added.special, **dict.fromkeys(_FLAGS, False)}
            for token, added in sorted(beside.added.items())
            if token not in there and vocabulary.get(added.text) != token
        ]
        spaced = not is_byte_level(data)
        kept = [entry if entry["special"] else _without_flags(entry, spaced, notes) for entry in kept]
    except (KeyError, TypeError, AttributeError):
        return False  # what is damaged is named by what reads it
    if beyond:
        notes.append(left_out([(entry["id"], entry["content"]) for entry in beyond]))
    changed = kept != entries
    data["added_tokens"] = kept
    return changed


_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def _without_flags(entry: dict[str, Any], spaced: bool, notes: list[str]) -> dict[str, Any]:
    names = _FLAGS if spaced else ("lstrip", "rstrip")
    asked = [name for name in names if entry.get(name)]
    if not asked:
        return entry
    notes.append(f"{entry['content']!r:.80} is found without regard to {', '.join(asked)}, as llama.cpp does")
    return entry | dict.fromkeys(asked, False)


def _with_stops(data: dict[str, Any], config: dict[str, Any] | None, stop_ids: Sequence[int]) -> dict[str, Any] | None:
    """The tokenizer_config.json, completed by the ends of a text that the model's own files have."""
    if not stop_ids:
        return config
    try:
        pieces = {token: piece for piece, token in data["model"]["vocab"].items()}
        pieces |= {entry["id"]: entry["content"] for entry in data["added_tokens"]}
    except (KeyError, TypeError, AttributeError):
        return config
    config = dict(config or {})
    stops = [pieces[token] for token in stop_ids if token in pieces]
    if stops and not config.get("eos_token"):
        config["eos_token"] = stops[0]
    return config | {"stop_tokens": stops}
