"""A model with one of its adapters, by a name of its own: the process, the queue and the weights are the model's."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from puna.infer.requests import Event, Request
from puna.serve.caller import Caller
from puna.serve.engine_client import EngineClient
from puna.serve.served_model import Progress, State

if TYPE_CHECKING:
    from puna.chat.template import ChatTemplate
    from puna.config.recipe import ModelConfig
    from puna.tokenizer.tokenizer import Tokenizer


class AdaptedModel:
    """Implements `ServedModel`; what is not said here is the model's, as it is when it is asked for.

    Args:
        name: What requests call it by, and the adapter's name in the model's process.
        client: The model, which is loaded with the adapter.
    """

    title: str
    config: "ModelConfig"
    tokenizer: "Tokenizer"
    template: "ChatTemplate | None"
    longest: int
    state: State

    def __init__(self, name: str, client: EngineClient) -> None:
        self.name, self.created, self._client = name, client.created, client
        self.parent: str | None = client.name

    def __getattr__(self, name: str) -> Any:
        """The adapter's own chat template, else an attribute of the model."""
        if name == "_client":  # while a copy is made it has none yet
            raise AttributeError(name)
        return self._client.templates[self.name] if name == "template" else getattr(self._client, name)

    def ask(self, request: Request, caller: Caller) -> AsyncGenerator[Event | Progress]:
        """As `ServedModel.ask`, with the adapter."""
        return self._client.ask(replace(request, adapter=self.name), caller)
