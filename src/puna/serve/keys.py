"""Keys of the API: a file of names and keys, and who a request comes from.

```
# a name, a colon, a key; the name stands in logs and metrics, the key nowhere
alice: 5f0c0fd9b2a94e5a8f0f6d1c
metrics: 0e8c6b1d7a5244c3b9f1a2e4
```

The server keeps no key: only its HMAC under a secret that is drawn at the start. Keys are found by that digest, of
which a client knows nothing, so how long a search takes does not tell how much of a key was right.
"""

import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from puna.core.bounded import read_bounded
from puna.core.console import warn
from puna.core.errors import ServeError
from puna.core.files import decode_text
from puna.serve.caller import ANYONE, Caller
from puna.serve.errors import ApiError

SHORTEST_KEY, LONGEST_KEY = 16, 512
"""Characters. 16 of base64 have 96 bits; from 64 on, secrets need no bound on how often one may try (NIST SP 800-63B,
section 5.1.2.2)."""
_LARGEST_FILE = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""What a header can carry after `Bearer` (RFC 6750, section 2.1)."""


class Keys:
    """Who may use the server.

    Args:
        keys: Each caller's key, by the caller's name.
        secret: What digests and salts are made with; a random one is drawn if it is not given.
    """

    def __init__(self, keys: dict[str, str], secret: bytes | None = None) -> None:
        self._secret = secret or secrets.token_bytes(32)
        self._callers = {
            self._digest("key", key): Caller(name=name, salt=self._digest("salt", key).hex())
            for name, key in keys.items()
        }

    def __len__(self) -> int:
        return len(self._callers)

    def caller(self, authorization: list[bytes]) -> Caller:
        """The caller that a request's `Authorization` headers name.

        Args:
            authorization: The values of all headers of that name.

        Raises:
            ApiError: 401: there is none, more than one, one of another scheme, or its key is not among these.
        """
        if not authorization:
            raise ApiError(
                401, "this server needs a key: send the header 'Authorization: Bearer KEY'", code="missing_api_key"
            )
        scheme, _, key = authorization[0].strip().partition(b" ")
        if len(authorization) > 1 or scheme.lower() != b"bearer":
            raise ApiError(401, "the header Authorization must be given once, as 'Bearer KEY'", code="invalid_api_key")
        caller = self._callers.get(self._digest("key", key.strip().decode("latin-1")))
        if caller is None:
            raise ApiError(
                401, "the key in the header Authorization is not one of this server's", code="invalid_api_key"
            )
        return caller

    def _digest(self, use: str, key: str) -> bytes:
        return hmac.digest(self._secret, f"{use}:{key}".encode(), "sha256")


def read_keys(path: Path) -> Keys:
    """The keys of a file; a file that every user of the machine can read gets a warning.

    Raises:
        ServeError: The file cannot be read, has no key, or a line of it is not a name and a key of its own. What it
            says names the line, and never shows a key.
    """
    content = decode_text(read_bounded(path, _LARGEST_FILE, ServeError), path, ServeError)
    keys: dict[str, str] = {}
    seen: dict[str, int] = {}
    for number, name, key in _lines(path, content):
        if name in keys:
            raise ServeError(f"{path}: line {number} gives a second key to {name!r}")
        if key in seen:
            raise ServeError(f"{path}: line {number} has the key of line {seen[key]}: callers share no key")
        keys[name], seen[key] = key, number
    if not keys:
        raise ServeError(f"{path}: has no key", hint="write one per line as 'name: key', such as: " + _example())
    if os.stat(path).st_mode & stat.S_IROTH:
        warn(f"{path} can be read by every user of this machine; run: chmod o-r {path}")
    return Keys(keys)


def _lines(path: Path, content: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(content.split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, colon, key = (part.strip() for part in text.partition(":"))
        if not colon:
            raise ServeError(f"{path}: line {number} is not 'name: key'")
        if not _NAME.fullmatch(name) or name == ANYONE.name:
            raise ServeError(
                f"{path}: line {number} has the name {name!r:.80}; names are up to 64 letters, digits, '.', '_' and "
                f"'-', and {ANYONE.name!r} is who comes without a key"
            )
        if not _KEY.fullmatch(key) or len(key) > LONGEST_KEY:
            raise ServeError(
                f"{path}: line {number}: the key of {name!r} has characters that a header cannot carry, or more than "
                f"{LONGEST_KEY}", hint=f"such as: {_example()}",
            )  # fmt: skip
        if len(key) < SHORTEST_KEY:
            raise ServeError(
                f"{path}: line {number}: the key of {name!r} has {len(key)} characters; the fewest are {SHORTEST_KEY}",
                hint=f"such as: {_example()}",
            )
        yield number, name, key


def _example() -> str:
    """A line with a new random key, which nobody else has seen and which may be used as it is."""
    return f"alice: {secrets.token_urlsafe(24)}"
