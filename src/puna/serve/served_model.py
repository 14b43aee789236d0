"""A model by its name on the server: what routes know of it, and how they ask it."""

from collections.abc import AsyncGenerator, Iterator, Mapping
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
    parent: str | None
    """The name of the model that this is an adapter of; None for a model itself."""

    def ask(self, request: Request, caller: Caller) -> AsyncGenerator[Event | Progress]:
        """Put a request to the engine: its events as `Engine.stream` has them, and `Progress` while it is read.

        What can be refused now is refused by the call, before anything is awaited.

        The salt of the caller takes the place of the request's. `Event.request` is 0. Closing the generator before its
        end cancels the request, whose pages are free at once. The caller's requests take turns with those of others.

        Raises:
            GenerateError: The model cannot serve this request (`infer.requests.check`), before it waits for anything.
            ApiError: The queue is full or its time is over (429, 503), the server stops (503), or the engine's process
                has ended (500).
        """
        ...


State = Literal["loading", "ready", "unloaded", "failed", "stopped"]
"""It is read from its files; it answers; its process was ended until it is asked; it cannot be loaded at the moment,
which is tried again; the server has ended it."""


class ServedModels(Protocol):
    """The models of a server by their names."""

    def __iter__(self) -> Iterator[ServedModel]:
        """All models, in the order in which they were given."""
        ...

    @property
    def default(self) -> ServedModel:
        """The model that is meant where none is named: the first."""
        ...

    @property
    def states(self) -> Mapping[str, State]:
        """The state of each model, by its name."""
        ...

    def get(self, name: str) -> ServedModel:
        """The model of a name.

        Raises:
            ApiError: 404; there is none.
        """
        ...
