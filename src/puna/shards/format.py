"""The format of token shards, version 2: the token ids of the documents of one source and split.

```
shards/<source>/<split>/
  manifest.json             describes the files below; its presence means that the directory is complete
  tokens-00000.bin          token ids, little-endian, 2 bytes each up to a vocabulary of 65,536, otherwise 4
  documents-00000.bin       32 bytes per document: four little-endian 64-bit unsigned integers
                              start   index of its first token in the shard
                              tokens  how many tokens it has, <s> and </s> included
                              bytes   length of its text in UTF-8
                              origin  offset of its line in origins-00000.jsonl
  origins-00000.jsonl       {"id", "origin"} per document, and `url`, `licence` and `date` where they are known
  …-00001.…                 the next shard
  verified.json             the files that were compared with their hashes, and their state then; not part of
                            the format, written by the first training run on them
```

A document is `<s>`, its tokens, `</s>` (OpenLLaMA and EasyLM write both); if one token has both roles, as GPT-NeoX's
`<|endoftext|>`, a document is this token and its tokens, and ends with the next document's first token. It never
straddles two shards. Sources are never mixed on the disk: the loader mixes, so a new mixture needs no new build.

manifest.json: `format`, `version`, `source`, `split`, `dtype`, `tokens`, `documents`, `text_bytes`; `tokenizer`
(`sha256`, `vocab_size`, `bos_id`, `eos_id`); `documents_sha256`, the hash of the source documents;
`shard_tokens`, after how many tokens a shard was closed; `files`, each with `name`, `bytes` and `sha256`; `shards`,
each with its `tokens` and `documents`.
"""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from puna.core.errors import DataError
from puna.core.layout import DataDir

FORMAT, VERSION = "puna-token-shards", 2
MANIFEST = "manifest.json"
ROW = np.dtype([("start", "<u8"), ("tokens", "<u8"), ("bytes", "<u8"), ("origin", "<u8")])
TOKENS, DOCUMENTS, ORIGINS = KINDS = ("tokens-{:05d}.bin", "documents-{:05d}.bin", "origins-{:05d}.jsonl")
REBUILD = "build the data again"
"""The hint of every error about damaged data, where its build is not known: shards can always be made again."""


def rebuild(path: Path | str) -> str:
    """The hint of an error about a file of a build: the command that makes all of the build again.

    Args:
        path: The file or directory that is damaged, or an address in an object store.
    """
    for data in map(DataDir, Path(path).parents):
        if data.config.is_file() and data.record.is_file() and data.tokenizer.is_dir():
            command = shlex.join(["puna", "data", "build", str(data.config), "--data-dir", str(data), "--force"])
            return f"{REBUILD}: `{command}`"
    return REBUILD


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The narrowest of the two widths that holds every id."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a shard directory.

    Raises:
        DataError: It is missing, damaged, or of another format or version.
    """
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        form, version = manifest["format"], manifest["version"]
    except OSError:
        raise DataError(f"{directory}: holds no token shards (there is no {MANIFEST})", hint="build the data") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{path}: is damaged", hint=rebuild(path)) from None
    if (form, version) != (FORMAT, VERSION):
        raise DataError(
            f"{path}: is {form!r} version {version!r}, this version of Puna reads {FORMAT!r} {VERSION}",
            hint=rebuild(path),
        )
    try:
        consistent = _is_consistent(manifest)
    except (KeyError, TypeError, AttributeError):
        consistent = False
    if not consistent:
        raise DataError(f"{path}: is damaged, its numbers do not agree with each other", hint=rebuild(path))
    return manifest


def _is_consistent(manifest: dict[str, Any]) -> bool:
    """Whether a manifest names exactly the files of its shards, with the sizes that their counts ask for."""
    shards, tokenizer = manifest["shards"], manifest["tokenizer"]
    dtype = token_dtype(tokenizer["vocab_size"])
    sizes = {}
    for number, shard in enumerate(shards):
        sizes[TOKENS.format(number)] = shard["tokens"] * dtype.itemsize
        sizes[DOCUMENTS.format(number)] = shard["documents"] * ROW.itemsize
        sizes[ORIGINS.format(number)] = None
    files = {file["name"]: file["bytes"] for file in manifest["files"]}
    counts = [manifest[key] for key in ("tokens", "documents", "text_bytes", "shard_tokens")]
    counts += [shard[key] for shard in shards for key in ("tokens", "documents")]
    ends = [tokenizer["bos_id"], tokenizer["eos_id"]]
    texts = [manifest[key] for key in ("source", "split", "documents_sha256")] + [tokenizer["sha256"]]
    texts += [file["sha256"] for file in manifest["files"]]
    return (
        all(type(count) is int and count >= 0 for count in [*counts, *files.values(), *ends])
        and all(type(text) is str for text in texts)
        and max(ends) < tokenizer["vocab_size"]
        and manifest["dtype"] == dtype.name
        and files.keys() == sizes.keys()
        and all(size is None or size == files[name] for name, size in sizes.items())
        and all(manifest[key] == sum(shard[key] for shard in shards) for key in ("tokens", "documents"))
    )
