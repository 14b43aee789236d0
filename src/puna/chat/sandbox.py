"""A process that runs chat templates, and nothing else: whatever a template does, it takes no more than it is given.

A chat template comes with a model from anywhere. Jinja's sandbox keeps it from files and from Python's insides, but not
from loops that never end, nor from `'a' * 10 ** 10`. Both end here: the operating system bounds time and memory of the
process, and what a template writes is counted while it writes.

A request is one line of JSON on standard input, the answer one line on standard output:

```
{"template": "…", "each": [{"variables": {…}, "marks": ["x", "y"]}], "now": "2026-01-31T12:00:00", "most": 1000,
 "seconds": 5}
{"texts": ["…"]}    or {"invalid": "…"}, in Jinja's words, or {"bound": "memory"}
```

In place of the text of a conversation that the template refuses stands {"refused": "…"}, in its words or Python's.

The environment is the one for which Hugging Face's templates are written
(https://huggingface.co/docs/transformers/chat_templating_writing).
"""

import contextlib
import json
import math
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

_MOST_MEMORY = 1 << 29
"""Bytes of address space of the process; Python and Jinja take a fifth of it."""

_BEFORE, _AFTER = "_before_answer", "_after_answer"
"""Names of variables, which no template's own can be: they are not in its source."""


class BoundError(Exception):
    """A template took more than it is given: `text` or `memory`."""


class RefusedError(Exception):
    """A template refused a conversation, or failed; in its words or Python's."""


class InvalidError(Exception):
    """A template is not valid Jinja, in Jinja's words."""


class _Answers(Extension):
    """`{% generation %}`: what the model wrote stands in this block, as transformers has it; here between two marks."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own field

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        before, after = (nodes.Output([nodes.Name(name, "load")]) for name in (_BEFORE, _AFTER))
        return nodes.Scope([before, *body, after]).set_lineno(line)


def render(
    template: str, variables: dict[str, Any], *, now: datetime, most: int, marks: Sequence[str] = ("", "")
) -> str:
    """What a template writes.

    Args:
        template: Jinja's source.
        variables: What the template can use: values as JSON has them.
        now: The time that `strftime_now` writes.
        most: Characters that it may write.
        marks: What is put before and after that which `{% generation %}` blocks write.

    Raises:
        InvalidError: The template is not valid.
        RefusedError: It fails, or refuses these variables.
        BoundError: It wrote more, or needed more memory.
    """
    given = variables | {
        "strftime_now": lambda form: now.strftime(form),
        "raise_exception": _raise,
        _BEFORE: marks[0],
        _AFTER: marks[1],
    }
    pieces: list[str] = []
    left = most
    try:
        for piece in _compiled(template).generate(given):
            pieces.append(piece)
            if (left := left - len(piece)) < 0:
                raise BoundError("text")
    except MemoryError:
        raise BoundError("memory") from None
    except RecursionError:
        raise RefusedError("it calls itself without an end") from None
    except BoundError:
        raise
    except jinja2.TemplateSyntaxError as error:
        raise InvalidError(f"line {error.lineno}: {error.message}") from None
    except Exception as error:  # whatever a template can cause: a field that is missing, a text divided by a number
        raise RefusedError(str(error) or type(error).__name__) from None
    return "".join(pieces)


@lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Answers, LoopControlExtension]
    )
    environment.filters["tojson"] = _to_json
    return environment.from_string(template)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without Jinja's escapes for HTML, which no model was trained on."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def main() -> None:
    """Answer requests until standard input ends, or until a template has used up what it was given."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # systems without these bounds
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer = _answer(request)
        sys.stdout.buffer.write(json.dumps(answer, ensure_ascii=False).encode(errors="surrogatepass") + b"\n")
        sys.stdout.buffer.flush()
        if "bound" in answer:
            return


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    now = datetime.fromisoformat(request["now"])
    texts: list[str | dict[str, str]] = []
    try:
        for one in request["each"]:
            _bound_time(request["seconds"])
            try:
                texts.append(
                    render(request["template"], one["variables"], now=now, most=request["most"], marks=one["marks"])
                )
            except RefusedError as error:
                texts.append({"refused": str(error)})
    except InvalidError as error:
        return {"invalid": str(error)}
    except BoundError as error:
        return {"bound": str(error)}
    return {"texts": texts}


def _bound_time(seconds: float) -> None:
    """Let the operating system end this process after these seconds of a processor's time (SIGXCPU)."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), most))
