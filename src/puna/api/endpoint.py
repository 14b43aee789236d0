"""A model behind an endpoint as what is evaluated: an address instead of a path."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from puna.core.errors import EvaluateError
from puna.core.layout import RunDir
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.api.language_model import LanguageModel
    from puna.api.recipes import PathLike
    from puna.evaluate.series import Subject
    from puna.tokenizer.tokenizer import Tokenizer

KEY = "OPENAI_API_KEY"
"""The environment variable that has the key of an endpoint which asks for one, as for OpenAI's own client."""
_MEANT = ("tokenizer", "context")
"""Options of `load` that have a meaning for an endpoint."""
_UNSET = (None, False, "cpu")
"""Values of options that nobody has given."""


def is_endpoint(model: "LanguageModel | PathLike") -> bool:
    """Whether a model is named by an address of HTTP."""
    return isinstance(model, str) and model.startswith(("http://", "https://"))


def endpoint_subject(url: str, options: Mapping[str, Any], *, served: str | None, timeout: float) -> "Subject":
    """A served model, once a probe has shown that it can be evaluated.

    Args:
        url: The beginning of its addresses, such as `http://127.0.0.1:8000/v1`.
        options: Of `load`; only `tokenizer` and `context` have a meaning here.
        served: The model's name there; None is the only one.
        timeout: Seconds that the server may be silent.

    Raises:
        EvaluateError: The server cannot be reached or cannot be evaluated; or an option has no meaning here.
        TokenizerError: The tokenizer is missing or cannot be used.
    """
    from puna.core.schema.evaluation import EngineUsed, EvaluatedModel
    from puna.evaluate.backends.endpoint import EndpointBackend
    from puna.evaluate.backends.http_json import HttpJson
    from puna.evaluate.series import Subject

    if others := [name for name, value in options.items() if value not in _UNSET and name not in _MEANT]:
        raise EvaluateError(f"{others[0]} is decided by the endpoint, which serves the model as it likes")
    if options.get("tokenizer") is None:
        raise EvaluateError(
            f"{url}: prompts are sent as token ids, so the model's tokenizer is needed",
            hint="name a run, a model or its tokenizer's file: --tokenizer runs/demo",
        )
    tokenizer = _tokenizer(options["tokenizer"])
    server = HttpJson(url, key=os.environ.get(KEY) or None, timeout=timeout)
    backend = EndpointBackend(server, tokenizer, model=served, context=options.get("context"))
    return Subject(
        backend=backend,
        model=EvaluatedModel(
            path=f"{server.url}#{backend.model}", title=backend.model, tokenizer_sha256=tokenizer.sha256
        ),
        engine=EngineUsed(title=backend.title, exact=backend.exact),
    )


def _tokenizer(named: "PathLike") -> "Tokenizer":
    """The tokenizer of a run, of a model, or in a file."""
    from puna.tokenizer.load import load_tokenizer

    place = user_path(named)
    run = RunDir(place)
    return load_tokenizer(run.tokenizer if run.config.is_file() and run.tokenizer.is_dir() else place)
