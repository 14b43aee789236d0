"""The models of a server by their names."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from puna.serve.adapted_model import AdaptedModel
from puna.serve.engine_client import EngineClient
from puna.serve.errors import ApiError
from puna.serve.served_model import State

_LONGEST_NAME = 200
"""Characters of a name for which one that is like it is looked for: with megabytes that takes seconds."""


class Models:
    """What a server serves; implements `ServedModels`.

    Args:
        served: At least one; the first is the default of the chat page. Their names differ.
        adapters: By the names of models, those of adapters that they are loaded with, which are models too.
    """

    def __init__(self, served: Sequence[EngineClient], adapters: Mapping[str, Sequence[str]] | None = None) -> None:
        self._clients = list(served)
        self._served: dict[str, EngineClient | AdaptedModel] = {}
        for client in served:
            self._served[client.name] = client
            for name in (adapters or {}).get(client.name, ()):
                self._served[name] = AdaptedModel(name, client)

    def __iter__(self) -> Iterator[EngineClient | AdaptedModel]:
        """All models, in the order in which they were given, each before its adapters."""
        return iter(self._served.values())

    @property
    def default(self) -> EngineClient:
        """The first model, the one of the chat page."""
        return self._clients[0]

    @property
    def states(self) -> dict[str, State]:
        """The state of each model, by its name."""
        return {model.name: model.state for model in self}

    def get(self, name: str) -> EngineClient | AdaptedModel:
        """The model of a name.

        Raises:
            ApiError: 404; there is none.
        """
        if (found := self._served.get(name)) is not None:
            return found
        near = get_close_matches(name, self._served, n=1) if len(name) <= _LONGEST_NAME else []
        names = ", ".join(self._served)
        raise ApiError(
            404, f"there is no model {name!r:.200}; " + (f"did you mean {near[0]!r}?" if near else f"there is {names}"),
            param="model", code="model_not_found",
        )  # fmt: skip

    async def __aenter__(self) -> "Models":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Load all models, one after the other: each has the machine's memory and cores for itself meanwhile.

        `async with` starts and stops them, too.

        Raises:
            UserError: One of them cannot be loaded; those before it are ended.
        """
        for model in self._clients:
            try:
                await model.start()
            except BaseException:
                await self.stop()
                raise

    def refuse_new(self) -> None:
        """Take no more requests, and finish those that were taken."""
        for model in self._clients:
            model.refuse_new()

    async def stop(self, grace_s: float = 0.0) -> None:
        """Take no more requests, wait for those that were taken, then end all processes.

        Args:
            grace_s: Seconds that are waited; requests that are not done by then end with an error.
        """
        await asyncio.gather(*(model.stop(grace_s) for model in self._clients))
