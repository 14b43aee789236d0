"""`puna.serve`: models behind OpenAI's interface, each in a process of its own."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from puna.core.console import say
from puna.core.errors import GenerateError
from puna.core.layout import RunDir

if TYPE_CHECKING:
    from typing import Unpack

    from puna.api.recipes import PathLike
    from puna.infer.engine import Engine
    from puna.serve.wire import About

OWN = ("weights", "cache", "draft", "device", "threads", "tokenizer")
"""Options of `load` that each model may have for itself."""
_NAMED = re.compile(r"([A-Za-z0-9][\w.:-]*)=(.+)", re.DOTALL)
"""The text before the first `=` is a name; a path has a slash there, `./a=b.gguf`."""
_OPTION = re.compile(r"(\w+)=(.*)", re.DOTALL)
_FILES = (".gguf", ".bin", ".pth", ".pt", ".safetensors", ".msgpack")
"""Ends of files that a model's name does not have."""


class LoadOptions(TypedDict, total=False):
    """How models are loaded; `puna.load` describes each."""

    weights: str | None
    cache: str | None
    draft: "PathLike | None"
    device: str
    threads: int | None
    tokenizer: "PathLike | None"
    format: str | None
    heads: int | None
    kv_heads: int | None
    context: int | None
    norm_eps: float | None
    rope_theta: float | None


@dataclass(frozen=True)
class ModelLoader:
    """Loads a model in the process that computes it (`puna.serve.worker`)."""

    path: str
    """As `puna.load` takes it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of `puna.load`, those that are not its defaults."""

    def __call__(self) -> "tuple[Engine, About]":
        """The model's engine, and what it is.

        Raises:
            UserError: As of `puna.load`; or the model has no tokenizer.
        """
        from puna.api.loading import load
        from puna.serve.wire import About

        model = load(self.path, **self.options)
        engine = model.engine
        about = About(
            title=model.runner.title, config=model.config, tokenizer=model.tokenizer, template=model.chat_template,
            longest=engine.longest, at_once=engine.max_requests, adapter=model.adapter,
            templates={name: model.template_of(name) for name in model.adapters},
        )  # fmt: skip
        return engine, about


def read_models(given: Sequence[str], options: Mapping[str, Any]) -> dict[str, ModelLoader]:
    """The models that somebody names: `[NAME=]PATH[,KEY=VALUE]...`, by their names.

    Args:
        given: What was typed; without a name it is the file's or directory's.
        options: Of `puna.load`, for those that do not say otherwise.

    Raises:
        GenerateError: Nothing is named, two models have one name, or an option is unknown.
    """
    if not given:
        raise GenerateError("no model is named", hint="puna serve runs/demo")
    models: dict[str, ModelLoader] = {}
    for text in given:
        name, loader = _read(text, options)
        if name in models:
            raise GenerateError(
                f"two models are called {name!r}: {models[name].path} and {loader.path}",
                hint=f"give one of them another name: {name}-2={text.removeprefix(name + '=')}",
            )
        models[name] = loader
    return models


def read_adapters(given: Sequence[str], models: Mapping[str, ModelLoader]) -> dict[str, dict[str, str]]:
    """The adapters that somebody names, `[MODEL:]NAME=PATH`: by their models' names, paths by their own names.

    Args:
        given: What was typed; a model is named where there are several.
        models: What is served, by name.

    Raises:
        GenerateError: It is written in another way, there is no such model, or two models would have one name.
    """
    found: dict[str, dict[str, str]] = {}
    taken = set(models)
    for text in given:
        named = _NAMED.fullmatch(text)
        if named is None or not named[2].strip():
            raise GenerateError(f"--adapter {text}: has no name for requests", hint="write NAME=PATH")
        model, name = _of_model(text, named[1], models)
        if name in taken:
            raise GenerateError(f"--adapter {text}: {name!r} is the name of another model", hint="give it a new one")
        taken.add(name)
        found.setdefault(model, {})[name] = named[2]
    return found


def _of_model(text: str, name: str, models: Mapping[str, ModelLoader]) -> tuple[str, str]:
    """The model that an adapter is for, and the adapter's own name."""
    for model in sorted(models, key=len, reverse=True):
        if name.startswith(f"{model}:") and len(name) > len(model) + 1:
            return model, name.removeprefix(f"{model}:")
    if len(models) > 1:
        first = next(iter(models))
        raise GenerateError(
            f"--adapter {text}: there are several models ({', '.join(models)}), and it is for one of them",
            hint=f"name that one: --adapter {first}:{text}",
        )
    return next(iter(models)), name


def _read(text: str, options: Mapping[str, Any]) -> tuple[str, ModelLoader]:
    parts = text.split(",")
    own: dict[str, Any] = {}
    while len(parts) > 1 and (found := _OPTION.fullmatch(parts[-1])):
        own[found[1]] = _value(text, found[1], found[2])
        parts.pop()
    rest = ",".join(parts)
    named = _NAMED.fullmatch(rest)
    path = named[2] if named else rest
    if not path.strip():
        raise GenerateError(f"{text!r} names no model", hint="NAME=PATH, or PATH alone")
    set_options = {key: value for key, value in {**options, **own}.items() if value is not None}
    return named[1] if named else _name(path), ModelLoader(path, set_options)


def _value(text: str, key: str, value: str) -> str | int:
    if key not in OWN:
        near = get_close_matches(key, OWN, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(OWN)}"
        raise GenerateError(f"{text}: a model has no option {key!r} of its own", hint=hint)
    if not value:
        raise GenerateError(f"{text}: {key} is empty")
    if key != "threads":
        return value
    if not re.fullmatch(r"[1-9][0-9]{0,3}", value):
        raise GenerateError(f"{text}: threads is {value!r}, but must be a whole number from 1 on")
    return int(value)


def _name(path: str) -> str:
    """What a model is called that nobody named."""
    last = Path(path).name or Path(path).resolve().name
    end = next((end for end in _FILES if last.endswith(end) and last != end), "")
    return last.removesuffix(end)


def serve(
    *models: "PathLike",
    adapter: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: "PathLike | None" = None,
    allow_host: Sequence[str] = (),
    allow_origin: Sequence[str] = (),
    requests_at_once: int = 64,
    requests_per_minute: int | None = None,
    max_queue: int = 256,
    request_seconds: float | None = 600.0,
    unload_after: float | None = None,
    grace: float = 30.0,
    **options: "Unpack[LoadOptions]",
) -> None:
    """Serve models with OpenAI's interface and a chat page, until a signal ends it.

    Each model has a process of its own, and this one computes nothing.

    Args:
        models: Each as `[NAME=]PATH[,KEY=VALUE]...`, where PATH is what `puna.load` takes and KEY an option of it that
            this model has for itself: `smol=SmolLM2.gguf,weights=int4`. Without a name it is called what its file or
            directory is called. The first is the chat page's default.
        adapter: Each as `NAME=PATH`, with several models as `MODEL:NAME=PATH`: what is served as a model called NAME is
            MODEL with the adapter in PATH, from the same process and the same weights.
        host: The address to listen at; `0.0.0.0` is all of this machine.
        port: 0 is one that is free, which a line on stderr names.
        keys: A file of keys, one of which each request must bear; None lets everybody ask.
        allow_host: Names of this server in the header Host, such as of a proxy that passes its own on.
        allow_origin: Sites whose pages may use the server from a browser.
        requests_at_once: Of one key at most; without keys, only the queue bounds them.
        requests_per_minute: Of one key at most; None is without limit.
        max_queue: Requests that wait for each model at most.
        request_seconds: That a request takes at most, its time in the queue included; None is without end.
        unload_after: Seconds without a request after which a model leaves the memory until it is asked; None is never.
        grace: Seconds that running requests have when a signal ends the server.
        options: Of `puna.load`, for all models that do not say otherwise.

    Raises:
        UserError: A model cannot be loaded, the address cannot be listened at, or an argument is out of its range.
        KeyboardInterrupt: Ctrl-C ended it, after what ran was finished.
    """
    from puna.api.chat import tuned_since, warn_if_outdated
    from puna.serve.app import make_app
    from puna.serve.engine_client import EngineClient, EngineLimits
    from puna.serve.keys import read_keys
    from puna.serve.limits import Limits
    from puna.serve.models import Models
    from puna.serve.run import Settings, bind, run

    loaders = read_models([os.fspath(model) for model in models], options)
    if request_seconds is not None and not 0 < request_seconds < math.inf:
        raise GenerateError(
            f"request_seconds is {request_seconds}, but must be more than 0", hint="None is without end"
        )
    for name, value in (("unload_after", unload_after), ("grace", grace)):
        if value is not None and not 0 <= value < math.inf:
            raise GenerateError(f"{name} is {value}, but must be at least 0")
    for name, least in (
        ("max_queue", max_queue), ("requests_at_once", requests_at_once), ("requests_per_minute", requests_per_minute)
    ):  # fmt: skip
        if least is not None and least < 1:
            raise GenerateError(f"{name} is {least}, but must be at least 1")
    if requests_per_minute is not None and keys is None:
        raise GenerateError("requests_per_minute is of each key, and there are none", hint="give a file of keys")
    limits = EngineLimits(queue=max_queue, request_s=request_seconds, unload_s=unload_after)
    for loader in loaders.values():
        if tuned := tuned_since(loader.path):
            say(f"{loader.path}: continues texts; {tuned} has learned to answer since: `puna serve {tuned}`")
            warn_if_outdated(RunDir(Path(loader.path)))
    adapters = read_adapters(adapter, loaders)
    for name, paths in adapters.items():
        loaders[name] = replace(loaders[name], options={**loaders[name].options, "adapter": paths})
    served = Models(
        [EngineClient(name, loader, limits) for name, loader in loaders.items()],
        {name: list(paths) for name, paths in adapters.items()},
    )
    app = make_app(served)
    settings = Settings(
        keys=None if keys is None else read_keys(Path(keys)), allow_hosts=tuple(allow_host),
        allow_origins=tuple(allow_origin), grace_s=grace, metrics=app.state.metrics,
        limits=Limits(requests_at_once=requests_at_once, requests_per_minute=requests_per_minute),
    )  # fmt: skip
    run(app, bind(host, port), settings, ", ".join(model.name for model in served), served)
