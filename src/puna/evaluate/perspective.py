"""A client of Perspective API, which judged the toxicity of texts in Touvron et al. (2023), section 5.1.

Google has announced the end of the service for 31 December 2026. Its models have changed over the years, so scores of
today are not the paper's; an evaluation's record has the date.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from puna.core.errors import EvaluateError
from puna.evaluate.scorer import Passage

KEY, RATE = "PERSPECTIVE_API_KEY", "PERSPECTIVE_API_QPS"
"""Environment variables: the key, and how many requests a second the key is allowed, by default 1 as the service's."""
URL = "https://commentanalyzer.googleapis.com/v1alpha1/comments:analyze"
TRIES = 5
"""Requests for one text at most; the first wait between them is a second, each next one twice as long."""
MOST_FAILURES = 10
"""Texts in a row that get no answer before the service counts as gone."""
LONGEST = 20_480
"""Bytes of a text that the service takes at most."""
_TIMEOUT_S = 30.0
_LONGEST_ANSWER = 1 << 20
_BUSY = {429, 500, 502, 503, 504}
_OUR_FAULT = {401, 403, 404, 410}
"""Answers that the next text would get too: the key is refused, or the service is not there any more."""


def open_perspective() -> "Perspective":
    """The client, with key and rate from the environment.

    Raises:
        EvaluateError: There is no key, or the rate is not a number above 0.
    """
    key = os.environ.get(KEY, "")
    if not key:
        raise EvaluateError(f"perspective: the environment variable {KEY} is not set", hint="it holds the API's key")
    text = os.environ.get(RATE, "1")
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise EvaluateError(f"perspective: {RATE} is {text!r}, expected requests a second, a number above 0")
    return Perspective(key=key, rate=rate)


class Perspective:
    """Asks the service about one text after the other, no faster than it allows.

    Args:
        key: Of the API; no message shows it.
        rate: Requests a second at most.
        url: Of the service.
        sleep: Waits for seconds.
        now: A clock in seconds that never goes back.
    """

    title = "Perspective API, TOXICITY"
    batch = 1

    def __init__(
        self,
        *,
        key: str,
        rate: float = 1.0,
        url: str = URL,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key, self._url, self._interval = key, url, 1 / rate
        self._sleep, self._now = sleep, now
        self._next = now()
        self._failures = 0

    def score(self, passages: Sequence[Passage]) -> list[Mapping[str, float | None]]:
        """The toxicity of each text; None where the service refuses the text or does not answer.

        It refuses texts that are empty, too long or in a language that it does not know.

        Raises:
            EvaluateError: The key is refused, or the service does not answer any more.
        """
        return [{"toxicity": self._toxicity(passage.text)} for passage in passages]

    def _toxicity(self, text: str) -> float | None:
        if not text.strip() or len(text.encode(errors="replace")) > LONGEST:
            return None
        for attempt in range(TRIES):
            self._wait()
            try:
                found = _toxicity_in(self._ask(text))
            except HTTPError as error:
                with error:
                    refused, wait = self._refusal(error), _seconds(error.headers.get("Retry-After"))
                if refused:
                    self._failures = 0
                    return None
            except (OSError, HTTPException, URLError):
                wait = 0.0
            else:
                self._failures = 0
                return found
            if attempt + 1 < TRIES:
                self._sleep(max(2.0**attempt, wait))
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            raise EvaluateError(
                f"perspective: no answer for {MOST_FAILURES} texts in a row, {TRIES} requests each",
                hint="scores so far are kept; the same command goes on where it was",
            )
        return None

    def _wait(self) -> None:
        """Wait until the rate allows a request."""
        early = self._next - self._now()
        if early > 0:
            self._sleep(early)
        self._next = self._now() + self._interval

    def _ask(self, text: str) -> bytes:
        body = {
            "comment": {"text": text}, "languages": ["en"], "requestedAttributes": {"TOXICITY": {}},
            "doNotStore": True,
        }  # fmt: skip
        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self._url}?key={self._key}", content, headers)  # noqa: S310
        with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            return answer.read(_LONGEST_ANSWER)

    def _refusal(self, error: HTTPError) -> bool:
        """Whether the text is refused, and not the request at this moment.

        Raises:
            EvaluateError: Every text would be.
        """
        if error.code in _BUSY:
            return False
        try:
            said = error.read(_LONGEST_ANSWER)
        except (OSError, HTTPException):  # The connection ended within the answer.
            said = b""
        if error.code in _OUR_FAULT or b"API_KEY_INVALID" in said or b"API key not valid" in said:
            message = _message(said).replace(self._key, "…")
            raise EvaluateError(f"perspective: the service refuses the requests ({error.code} {message})")
        return True


def _toxicity_in(answer: bytes) -> float | None:
    """The score in an answer; None where it has none."""
    found = _at(answer, "attributeScores", "TOXICITY", "summaryScore", "value")
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= 1 else None


def _message(answer: bytes) -> str:
    found = _at(answer, "error", "message")
    return " ".join(found.split())[:200] if isinstance(found, str) else "without a message"


def _at(answer: bytes, *keys: str) -> Any:
    """What JSON has under these keys; None where it is not of that form."""
    try:
        found = json.loads(answer)
        for key in keys:
            found = found[key]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found


def _seconds(text: str | None) -> float:
    """What `Retry-After` says in seconds, at most a minute; 0 where it says something else."""
    return min(float(text), 60.0) if text and text.isascii() and text.isdecimal() else 0.0
