"""A model by its name on the server: what routes know of it, and how they ask it."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from puna.infer.requests import Event, Request
from puna.serve.caller import Caller

if TYPE_CHECKING:
    from puna.chat.template import ChatTemplate
    from puna.config.recipe import ModelConfig
    from puna.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a prompt is read, while nothing has been written yet."""

    computed: int
    """Tokens of the prompt that the model has read."""
    total: int
    """Tokens of the prompt."""


class ServedModel(Protocol):
    """A model that is asked. What it says of itself it knows from its first loading on, also while it is unloaded."""

    name: str
    """What requests call it by."""
    created: int
    """When the server began to serve it, in seconds of Unix time."""
    title: str
    """How it computes: `Runner.title`."""
    config: "ModelConfig"
    """The decoder's shape."""
    tokenizer: "Tokenizer"
    """Text to token ids and back."""
    template: "ChatTemplate | None"
    """Writes conversations; None for a model that was not tuned to any."""
    longest: int
    """Tokens of a text at most, prompt and answer together."""

    def ask(self, request: Request, caller: Caller) -> AsyncGenerator[Event | Progress]:
        """Put a request to the engine: its events as `Engine.stream` has them, and `Progress` while it is read.

        The first thing told is `Progress` with nothing computed, as soon as the request stands in the queue: until
        then it can be refused, and an answer's status is not sent yet.

        The salt of the caller takes the place of the request's. `Event.request` is 0. Closing the generator before its
        end cancels the request, whose pages are free at once. The caller's requests take turns with those of others.

        Raises:
            GenerateError: The model cannot serve this request (`infer.requests.check`), before it waits for anything.
            ApiError: The queue is full or its time is over (429, 503), the server stops (503), or the engine's process
                has ended (500).
        """
        ...


@dataclass(frozen=True, slots=True)
class ModelState:
    """Whether a model answers."""

    state: Literal["loading", "ready", "unloaded", "failed"]
    """An unloaded one is loaded by the next request."""
    reason: str = ""
    """Why it failed: one sentence without paths."""


class ServedModels(Protocol):
    """The models of a server by their names, the default one first."""

    def get(self, name: str | None) -> ServedModel:
        """The model of this name; None is the default one.

        Raises:
            ApiError: There is none of this name (404, which names a similar one), or it was never loaded (503).
        """
        ...

    def known(self) -> list[ServedModel]:
        """Those that have been loaded once, in their order."""
        ...

    def states(self) -> Mapping[str, ModelState]:
        """The state of each model by its name, in their order."""
        ...
