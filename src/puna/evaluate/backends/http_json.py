"""JSON over HTTP with a server that may be busy: patience where that helps, one clear sentence where it does not."""

import http.client
import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from puna.core.errors import EvaluateError

BUSY = frozenset({429, 502, 503, 504})
"""Status codes after which the same question may be answered."""
MOST_BYTES = 1 << 28
"""Of an answer: log-probabilities of a million tokens in JSON."""
_LONGEST_PAUSE = 30.0
_VISIBLE = re.compile("[!-~]+")
"""What an address or a header's value can have; others are written in these."""
_SURROGATES = re.compile("[\ud800-\udfff]")


class HttpJson:
    """A server that answers JSON with JSON; each question has its own connection, so threads may share an object.

    Args:
        url: The beginning of all addresses, such as `http://127.0.0.1:8000/v1`.
        key: Sent as a bearer token; None is none. It goes to this server alone: redirections are not followed.
        timeout: Seconds that the server may be silent.
        retries: How often a busy or unreachable server is asked again, after pauses of 1, 2, 4, ... seconds, or as many
            as it asks for in `Retry-After`.
        pause: Waits for some seconds.

    Raises:
        EvaluateError: The address is not one of HTTP, or the key is not one.
    """

    def __init__(
        self, url: str, *, key: str | None = None, timeout: float = 600.0, retries: int = 5,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:  # fmt: skip
        parts = _parts(url)
        if parts is None:
            raise EvaluateError(f"{url}: is not the address of an endpoint", hint="such as http://127.0.0.1:8000/v1")
        if key is not None and not _VISIBLE.fullmatch(key):
            raise EvaluateError("the endpoint's key has characters that no key has: spaces, line breaks or non-ASCII")
        self.url = url.rstrip("/")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._path = parts.hostname or "", parts.port, parts.path.rstrip("/")
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._timeout, self._retries, self._pause = timeout, retries, pause

    def get(self, path: str) -> Any:
        """What the server has at a path behind the address.

        Raises:
            EvaluateError: It cannot be reached, refuses, or answers with something else than JSON.
        """
        return self.value_of(path, *self._asked("GET", path, None))

    def post(self, path: str, value: Any) -> Any:
        """The answer to a JSON value; errors as `get`'s."""
        return self.value_of(path, *self.status_of(path, value))

    def status_of(self, path: str, value: Any) -> tuple[int, bytes]:
        """The status code and body of the answer to a JSON value, whatever they are.

        Raises:
            EvaluateError: The server cannot be reached, or its answer is too long.
        """
        return self._asked("POST", path, json.dumps(value).encode())

    def value_of(self, path: str, status: int, answer: bytes) -> Any:
        """The JSON of an answer.

        Half of a surrogate pair, which is not a character, is U+FFFD.

        Raises:
            EvaluateError: The server refused, or it is something else than JSON.
        """
        try:
            value = json.loads(answer)
            if b"\\ud" in answer or b"\\uD" in answer:
                value = _readable(value)
        except (ValueError, RecursionError):
            value = None
        if status != 200:
            raise EvaluateError(f"{self.url}{path}: answers with the code {status}: {_message(value, answer)}")
        if value is None:
            raise EvaluateError(f"{self.url}{path}: answers with something else than JSON: {answer[:80]!r}")
        return value

    def _asked(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Ask until the server is not busy, or patience ends."""
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            wait = min(_LONGEST_PAUSE, 2.0**attempt)
            try:
                status, answer, asked_for = self._once(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                if last:
                    raise EvaluateError(
                        f"{self.url}{path}: cannot be reached: {error or type(error).__name__}",
                        hint="is the server running, and is it given enough time (--timeout)?",
                    ) from None
            else:
                if status not in BUSY or last:
                    return status, answer
                wait = wait if asked_for is None else min(_LONGEST_PAUSE, asked_for)
            self._pause(wait)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes, float | None]:
        connection = self._kind(self._host, self._port, timeout=self._timeout)
        try:
            headers = self._headers | ({"Content-Type": "application/json"} if body is not None else {})
            connection.request(method, self._path + path, body, headers)
            response = connection.getresponse()
            answer = response.read(MOST_BYTES + 1)
            asked_for = response.headers.get("Retry-After", "")
        finally:
            connection.close()
        if len(answer) > MOST_BYTES:
            raise EvaluateError(f"{self.url}{path}: answers with more than {MOST_BYTES:,} bytes")
        return response.status, answer, float(asked_for) if asked_for.isdecimal() else None


def _parts(url: str) -> SplitResult | None:
    """The parts of an address behind which paths can be put; None where it is another or none."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, (parts.hostname or "").encode("idna").decode()
    except ValueError:
        return None
    as_asked = parts.scheme in ("http", "https") and port != 0 and not (parts.username or parts.query or parts.fragment)
    return parts if as_asked and _VISIBLE.fullmatch(host) and _VISIBLE.fullmatch(f"/{parts.path}") else None


def _readable(value: Any) -> Any:
    """A value of JSON whose texts can be written down."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_readable(one) for one in value]
    return {_readable(name): _readable(one) for name, one in value.items()} if isinstance(value, dict) else value


def _message(value: Any, answer: bytes) -> str:
    """What an answer says of an error, as OpenAI's servers put it, or else its beginning."""
    said = value.get("error", value.get("detail")) if isinstance(value, dict) else None
    said = said.get("message") if isinstance(said, dict) else said
    return (said if isinstance(said, str) else answer.decode(errors="replace"))[:300]
