"""An existing tokenizer that a recipe names, found where users keep one and written into a build as it is."""

from pathlib import Path, PurePath
from typing import Any

from puna.core.errors import TokenizerError
from puna.core.files import atomic_directory, sha256_file
from puna.core.layout import RunDir
from puna.core.records import Record
from puna.core.reference import find_moment
from puna.tokenizer.huggingface import tokenizer_json
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer


def named_tokenizer(place: str) -> Tokenizer:
    """The tokenizer at a place.

    Args:
        place: A tokenizer's file in any form, a directory that holds one, a data build, or a run at any moment.

    Raises:
        TokenizerError: There is none, or it is not one that Puna can use.
        CheckpointError: The run has no such moment.
        FormatError: It is a damaged GGUF file.
    """
    path = _inside(Path(place))
    if path is None and (moment := find_moment(place)) is not None:
        path = _inside(moment.run.root)
    path = path or Path(place)
    try:
        return load_tokenizer(path)
    except TokenizerError as error:
        raise TokenizerError(f"tokenizer.from: {error.message}", hint=error.hint) from None


def _inside(root: Path) -> Path | None:
    """The directory of a model, run or data build that holds its tokenizer."""
    inside = (root, RunDir(root).model, root / "tokenizer")
    return next((directory for directory in inside if directory.is_dir() and find_tokenizer(directory)), None)


def tokenizer_identity(tokenizer: Tokenizer) -> dict[str, Any]:
    """What a record says of a tokenizer that was taken: the same wherever its file lies."""
    return {"from": {name: getattr(tokenizer, name) for name in ("kind", "vocab_size", "sha256")}}


def write_existing(tokenizer: Tokenizer, place: str, out: Path) -> None:
    """Write the native file, tokenizer.json where Hugging Face's library has such a tokenizer, and record.json.

    Args:
        tokenizer: The tokenizer.
        place: Where it was found; the record has the last part of it.
        out: The directory to make.

    Raises:
        StorageError: The disk is full or not writable.
    """
    record = Record("tokenizer", config=tokenizer_identity(tokenizer), inputs={"tokenizer": tokenizer.sha256})
    with atomic_directory(out, replace=True) as temporary:
        (temporary / tokenizer.file).write_bytes(tokenizer.content)
        if (converted := _converted(tokenizer)) is not None:
            (temporary / "tokenizer.json").write_bytes(converted)
        record.outputs = {path.name: sha256_file(path) for path in sorted(temporary.iterdir())}
        record.results = {
            "vocab_size": tokenizer.vocab_size,
            "taken_from": PurePath(place).name,
            "training_bytes": 0,
            "sources": {},
        }
        record.write(temporary / "record.json")


def _converted(tokenizer: Tokenizer) -> bytes | None:
    try:
        return tokenizer_json(tokenizer)
    except TokenizerError:  # a unigram model, for example
        return None
