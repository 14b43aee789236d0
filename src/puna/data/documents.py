"""The cleaned documents of a build, split into training and held-out text, and the dropped ones.

```
documents/
  <source>/train/00000.jsonl.zst     {"id", "origin", "text", …} per line, in the order of the input files
  <source>/heldout/00000.jsonl.zst
  <source>/dropped/00000.jsonl.zst   {"id", "reason", "detail"} per line, with "text" if the recipe keeps it
  <source>/report/00000.jsonl.zst    if a rule reports: overlaps of training text with evaluation sets
  files.json                         for every file above: SHA-256, bytes, and the task that made it
  record.json                        counts, and the SHA-256 of files.json
```

The directory appears when it is complete. `puna.data.document_files` describes the lines.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.core.errors import DataError
from puna.core.files import sha256_file, sha256_json
from puna.core.layout import DataDir
from puna.core.records import read_record
from puna.data.document import Document
from puna.data.document_files import read_documents
from puna.shards.format import rebuild

LISTING = "files.json"


@dataclass(frozen=True)
class DocumentsFile:
    """One file of documents."""

    path: Path
    """Path relative to the directory of documents."""
    sha256: str
    size: int
    """Size of the file in bytes."""
    made_by: str
    """Fingerprint of the task that wrote it."""


def documents_record(out: DataDir) -> dict[str, Any]:
    """The record of the documents.

    Raises:
        DataError: There are none, or it is damaged.
    """
    record = read_record(out.documents / "record.json")
    if record is None:
        raise DataError(f"{out.documents}: no documents are here", hint=rebuild(out.documents))
    return record


def documents_files(out: DataDir, source: str, kind: str) -> list[DocumentsFile]:
    """The files of a source: of `train`, `heldout`, `dropped` or `report`.

    Raises:
        DataError: The listing is missing or has another hash than the record states.
    """
    path = out.documents / LISTING
    expected = documents_record(out)["outputs"].get(LISTING)
    if not path.is_file() or sha256_file(path) != expected:
        raise DataError(f"{path}: is missing or damaged", hint=f"delete {out.documents} and build the data again")
    rows = json.loads(path.read_bytes())[source].get(kind, [])
    return [DocumentsFile(Path(row["path"]), row["sha256"], row["bytes"], row["made_by"]) for row in rows]


def documents_sha256(out: DataDir, source: str, split: str) -> str:
    """A hash of all documents of a source and split."""
    return sha256_json([file.sha256 for file in documents_files(out, source, split)])


def documents_of(out: DataDir, source: str, split: str) -> Iterator[Document]:
    """The documents of a source and split, in order.

    Raises:
        DataError: A file is missing or damaged.
    """
    for file in documents_files(out, source, split):
        yield from read_documents(out.documents / file.path, source)
