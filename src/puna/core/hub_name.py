"""Names of models on Hugging Face's hub: `owner/name`, `owner/name@revision`, `owner/name@revision/file`.

The forms are those of huggingface_hub's own file system.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from puna.core.reference import is_word

_NAME = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[^/@]+))?(?:/(?P<file>[^@]+))?"
)
MAIN = "main"
"""The branch that a name without a revision means."""


@dataclass(frozen=True)
class HubName:
    """What a name on the hub says."""

    repository: str
    """The owner's name, a slash, the model's name."""
    revision: str
    """A branch, a tag or a commit."""
    file: str | None
    """The path of one file in it; None means the model that the repository holds."""

    def __str__(self) -> str:
        at = "" if self.revision == MAIN else f"@{self.revision}"
        return f"{self.repository}{at}{'' if self.file is None else '/' + self.file}"


def hub_name(path: str | os.PathLike[str], folder: Path | None = None) -> HubName | None:
    """The model on the hub that a path names; None where a path of this machine is meant.

    What exists here is a path, and what begins with `./`. So is what begins with a directory that exists here, such as
    `runs/demo` where there is `runs`, unless it has a revision other than a moment of a run (`runs/demo@step-400`).

    Args:
        path: What a user has named.
        folder: What a path is relative to; None is the working directory.
    """
    match = _NAME.fullmatch(os.fspath(path))
    place = Path(path) if folder is None else folder / path
    if match is None or os.path.lexists(place):
        return None
    first = Path(path).parts[0]
    if (match["revision"] is None or is_word(match["revision"])) and os.path.lexists((folder or Path()) / first):
        return None
    # A branch may have slashes, which are written as huggingface_hub does.
    revision = (match["revision"] or MAIN).replace("%2F", "/")
    return HubName(match["repository"], revision, match["file"])
