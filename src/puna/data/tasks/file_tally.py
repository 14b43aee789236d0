"""What each input file of a task has given: files that gave nothing or broke off are counted and named.

```
"files": {"read": files, "bytes": as stored, "nothing": OUTCOME, "broken": OUTCOME}
OUTCOME: {"reasons": {reason: files}, "named": {file: {reason: records}}}
```

A file *gave nothing* if no record of it became a document, and it is *broken* if documents came of it but something in
it could not be read. A file that is one document itself and was dropped as such is named among the dropped documents
and not here, unless its name says that it is packed: of `dump.gz` nobody expects one document.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from puna.data.document import NO_RECORD, READER_FAILED, UNREADABLE, Document, Dropped, Raw
from puna.data.input_file import InputFile
from puna.data.tasks.counts import Counts

NAMED = 100
"""How many files a task, and then a source, names; all of them are counted."""
_PACKED = re.compile(r".*\.(gz|bz2|xz|zst|zip|7z|tar|tgz|tbz2?|txz)", re.IGNORECASE)


class FileTally:
    """Follows the records of a task's files in their order, and adds each file that has ended to the counts.

    Args:
        files: The files of the task.
        state: `state` of the tally that has followed the finished chunks; empty at the beginning.
    """

    def __init__(self, files: Sequence[InputFile], state: dict[str, Any]) -> None:
        self._files = files
        self._order: int = state.get("order", -1)
        self._named: int = state.get("named", 0)
        self._begin(state)

    def _begin(self, state: dict[str, Any]) -> None:
        """Begin a file, or go on with the one of a state."""
        self._documents: int = state.get("documents", 0)
        self._own: int = state.get("own", 0)
        """Dropped records that are the file itself."""
        self._dropped = Counter(state.get("dropped", {}))
        """Records by reason, and in the next one those that could not even be found whole."""
        self._broken = Counter(state.get("broken", {}))

    @property
    def state(self) -> dict[str, Any]:
        """What another tally needs to go on from here, as JSON."""
        return {
            "order": self._order, "named": self._named, "documents": self._documents, "own": self._own,
            "dropped": dict(self._dropped), "broken": dict(self._broken),
        }  # fmt: skip

    def add(self, order: int, raw: Raw | Dropped, verdict: Document | Dropped, counts: Counts) -> None:
        """Count a record of the file at `order`, and the files before it as read."""
        self.reach(order, counts)
        if isinstance(verdict, Document):
            self._documents += 1
            return
        self._dropped[verdict.reason] += 1
        self._own += raw.id == self._files[order].name
        if isinstance(raw, Dropped) and _breaks_off(raw.reason):
            self._broken[raw.reason] += 1

    def reach(self, order: int, counts: Counts) -> None:
        """Count the files before the one at `order`, which come to their end here."""
        while self._order < order:
            if self._order >= 0:
                self._close(self._files[self._order], counts)
            self._begin({})
            self._order += 1

    def _close(self, file: InputFile, counts: Counts) -> None:
        table = counts.setdefault("files", no_files())
        table["read"] += 1
        table["bytes"] += file.size
        shown: dict[str, int] = dict(self._broken) if self._documents else dict(self._dropped) or {NO_RECORD: 1}
        alone = sum(self._dropped.values()) == self._own == 1 and not self._broken and not is_packed(file.name)
        if not shown or (alone and not self._documents):
            return
        outcome = table["broken" if self._documents else "nothing"]
        reason = min(shown, key=lambda reason: (-shown[reason], reason))
        outcome["reasons"][reason] = outcome["reasons"].get(reason, 0) + 1
        if self._named < NAMED:
            self._named += 1
            outcome["named"][file.name] = shown


def is_packed(name: str) -> bool:
    """Whether a file's name says that it is compressed or an archive."""
    return _PACKED.fullmatch(name) is not None


def _breaks_off(reason: str) -> bool:
    return reason in (UNREADABLE, READER_FAILED) or reason.startswith("archive.")


def no_files() -> Counts:
    """The table before any file has ended."""
    return {"read": 0, "bytes": 0} | {kind: {"reasons": {}, "named": {}} for kind in ("nothing", "broken")}


def fewer_names(counts: Counts) -> Counts:
    """The counts with no more than `NAMED` files of each outcome, the first by name."""
    if "files" not in counts:
        return counts
    files = dict(counts["files"])
    for kind in ("nothing", "broken"):
        named = files[kind]["named"]
        files[kind] = files[kind] | {"named": {name: named[name] for name in sorted(named)[:NAMED]}}
    return counts | {"files": files}
