"""Chat templates are rendered by another process, which is started once and bounded (`puna.chat.sandbox`).

One process serves all models of this one; whatever it cannot survive, a template that takes too much for example, ends
it, and the next text is rendered by a new one.
"""

import atexit
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from puna.core.errors import GenerateError

_MOST_TEMPLATE = 1 << 20
"""Characters of a template, at most. The longest known, of models that call tools, have 20,000."""
_MOST_TEXT = 1 << 24
"""Characters that a template may write: several times what fits into the longest context, 10M tokens excepted."""
_SECONDS = 5
"""A processor's time for one rendering: a thousand times that of long conversations."""
_START = "import sys; sys.path[:] = sys.argv[1:]; from puna.chat.sandbox import main; main()"
_TOGETHER = 1 << 20
"""Bytes of conversations that are rendered by one request; longer ones have the process's memory for themselves."""


class Given(NamedTuple):
    """What a template can use for one text."""

    variables: dict[str, Any]
    """Values of JSON by name."""
    marks: Sequence[str] = ("", "")
    """What is put before and after that which `{% generation %}` blocks write."""


class Renderer:
    """The process that renders.

    Args:
        seconds: A processor's time for one rendering.
        most: Characters that one rendering may write.
    """

    def __init__(self, *, seconds: int = _SECONDS, most: int = _MOST_TEXT) -> None:
        self._seconds, self._most = seconds, most
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._parents: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process now, so that it is ready when something is to be rendered.

        Raises:
            GenerateError: Jinja is not installed.
        """
        with self._lock:
            self._running()

    def render(
        self, template: str, variables: dict[str, Any], *, now: datetime, marks: Sequence[str] = ("", "")
    ) -> str:
        """What a template writes; arguments and errors as of `render_each`."""
        return self.render_each(template, [Given(variables, marks)], now=now)[0]

    def render_each(self, template: str, each: Sequence[Given], *, now: datetime) -> list[str]:
        """What a template writes for each of a few texts, of one conversation as a rule.

        Args:
            template: Jinja's source.
            each: What it can use.
            now: The time that it may write.

        Raises:
            GenerateError: The template is not valid, refuses these variables, or takes more time, memory or text than
                it is given.
        """
        (texts,) = self.render_all(template, [each], now=now)
        if isinstance(texts, GenerateError):
            raise texts
        return texts

    def render_all(
        self, template: str, conversations: Sequence[Sequence[Given]], *, now: datetime
    ) -> list[list[str] | GenerateError]:
        """The texts of many conversations, or why one of them has none; the process is waited for seldom.

        Args:
            template: Jinja's source.
            conversations: What it can use for each text of each of them.
            now: The time that it may write.

        Raises:
            GenerateError: Jinja is not installed, or the template is far too long to be one.
        """
        if len(template) > _MOST_TEMPLATE:
            raise GenerateError(f"the chat template has {len(template):,} characters, more than {_MOST_TEMPLATE:,}")
        request = {"template": template, "now": now.isoformat(), "most": self._most, "seconds": self._seconds}
        head = json.dumps(request)[:-1].encode()
        parts = ([_json(given._asdict()) for given in each] for each in conversations)
        return [found for group in _grouped(parts) for found in self._of_group(head, group)]

    def _of_group(self, head: bytes, group: list[list[bytes]]) -> list[list[str] | GenerateError]:
        if len(group) == 1:
            return [self._of_one(head, group[0])]
        answers = self._answers(head, [part for parts in group for part in parts])
        if isinstance(answers, GenerateError):  # which of them was too much shows each by itself
            return [self._of_one(head, parts) for parts in group]
        each = iter(answers)
        return [_all_of([*islice(each, len(parts))]) for parts in group]

    def _of_one(self, head: bytes, parts: list[bytes]) -> list[str] | GenerateError:
        together = [parts] if sum(map(len, parts)) <= _TOGETHER else [[part] for part in parts]
        texts: list[str] = []
        for some in together:
            answers = self._answers(head, some)
            found = answers if isinstance(answers, GenerateError) else _all_of(answers)
            if isinstance(found, GenerateError):
                return found
            texts += found
        return texts

    def _answers(self, head: bytes, parts: list[bytes]) -> list[str | GenerateError] | GenerateError:
        """What is written for each part, or why nothing is; one error where that holds for the whole request."""
        match self._ask(head + b', "each": [' + b", ".join(parts) + b"]}\n"):
            case {"texts": list(texts)}:
                return [text if isinstance(text, str) else _refused(text["refused"]) for text in texts]
            case {"invalid": str(reason)}:
                return [GenerateError(f"the model's chat template is not valid: {reason:.500}")] * len(parts)
            case {"bound": "text"}:
                return GenerateError(f"the model's chat template wrote more than {self._most:,} characters")
            case {"bound": _}:
                return GenerateError("the model's chat template needs more memory than a template should")
        return GenerateError(f"the model's chat template was ended: it took longer than {self._seconds} s or crashed")

    def close(self) -> None:
        """End the process; the next text starts a new one."""
        with self._lock:
            self._end()

    def forked(self) -> None:
        """Leave the process to its parent, in a copy of this one that `os.fork` made."""
        self._lock = threading.Lock()
        self._process, self._parents = None, self._process

    def _ask(self, request: bytes) -> dict[str, Any]:
        """The answer; an empty one where the process ended without."""
        with self._lock:
            process = self._running()
            assert process.stdin is not None  # noqa: S101 - pipes, as asked for
            assert process.stdout is not None  # noqa: S101
            answered = False
            try:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(request)
                    process.stdin.flush()
                answer = json.loads(process.stdout.readline() or b"{}")
                answered = bool(answer) and "bound" not in answer
                return answer
            finally:
                if not answered:  # Ctrl-C in between, too: what it may still write answers nothing
                    self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            if importlib.util.find_spec("jinja2") is None:
                raise GenerateError("chat templates need the package 'jinja2'", hint="pip install 'puna[train]'")
            self._end()
            path = [place for place in sys.path if place]
            # In a session of its own, Ctrl-C does not reach it.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, *path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with contextlib.suppress(BrokenPipeError), process:  # closes its pipes and waits for it
            pass


def _json(value: Any) -> bytes:
    """One line; characters as they are, since half of a long conversation's are private ones, which escapes make 12."""
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


def _refused(reason: str) -> GenerateError:
    return GenerateError(f"the model's chat template does not take this conversation: {reason:.500}")


def _all_of(answers: list[str | GenerateError]) -> list[str] | GenerateError:
    """The texts, or the first error."""
    texts: list[str] = []
    for answer in answers:
        if isinstance(answer, GenerateError):
            return answer
        texts.append(answer)
    return texts


def _grouped(conversations: Iterable[list[bytes]]) -> Iterator[list[list[bytes]]]:
    """Conversations in order, as many together as one request takes."""
    group: list[list[bytes]] = []
    size = 0
    for parts in conversations:
        own = sum(map(len, parts))
        if group and size + own > _TOGETHER:
            yield group
            group, size = [], 0
        group.append(parts)
        size += own
    if group:
        yield group


renderer = Renderer()
"""The renderer that all models of this process share."""
atexit.register(renderer.close)
os.register_at_fork(after_in_child=renderer.forked)
