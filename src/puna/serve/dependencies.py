"""What routes need of a server and of who asks, as FastAPI's dependencies."""

from typing import Annotated

from fastapi import Depends, Request

from puna.serve.caller import ANYONE, Caller
from puna.serve.served_model import ServedModel, ServedModels


# Coroutines, though they wait for nothing: FastAPI runs plain functions on threads, at milliseconds for each request.
async def _models(request: Request) -> ServedModels:
    return request.app.state.models


async def _caller(request: Request) -> Caller:
    return request.scope.get("puna.caller", ANYONE)


Models = Annotated[ServedModels, Depends(_models)]
"""The server's models."""
From = Annotated[Caller, Depends(_caller)]
"""Who asks: what has checked the key puts it into the scope as `puna.caller`."""


def model_of(name: str | None, models: ServedModels) -> ServedModel:
    """The model that a body names; None is the default one.

    Raises:
        ApiError: 404; there is none of this name.
    """
    return models.default if name is None else models.get(name)
