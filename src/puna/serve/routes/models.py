"""`/v1/models`: what the server can be asked for."""

from typing import Any

from fastapi import APIRouter, Response

from puna.serve.answers import whole
from puna.serve.body import JsonRoute
from puna.serve.dependencies import Models
from puna.serve.schema.error import ERRORS
from puna.serve.schema.models import ModelCard, ModelList
from puna.serve.served_model import ServedModel

router = APIRouter(route_class=JsonRoute, tags=["models"], responses=ERRORS)


@router.get("/v1/models", responses={200: {"model": ModelList}})
async def list_models(models: Models) -> Response:
    """All models, the default one first."""
    return whole({"object": "list", "data": [_card(model) for model in models]})


@router.get("/v1/models/{model:path}", responses={200: {"model": ModelCard}})
async def retrieve_model(model: str, models: Models) -> Response:
    """The model of this name."""
    return whole(_card(models.get(model)))


def _card(model: ServedModel) -> dict[str, Any]:
    """What clients learn of a model."""
    return {
        "id": model.name, "object": "model", "created": model.created, "owned_by": "puna",
        "max_model_len": model.longest, "title": model.title, "chat": model.template is not None,
        "parent": model.parent,
    }  # fmt: skip
