"""`/health`: whether the server answers, for those who watch it and share load between servers."""

from fastapi import APIRouter, Response

from puna.serve.answers import whole
from puna.serve.body import JsonRoute
from puna.serve.dependencies import Models
from puna.serve.schema.error import ERRORS
from puna.serve.schema.health import Health

router = APIRouter(route_class=JsonRoute, tags=["server"])


@router.get("/health", responses={200: {"model": Health}, 503: {"model": Health}, **ERRORS})
async def health(models: Models) -> Response:
    """200 if every model answers or would be loaded by the next request; 503 while one loads or has failed."""
    states = models.states
    well = all(state in ("ready", "unloaded") for state in states.values())
    answer = whole({"status": "ok" if well else "unavailable", "models": states})
    answer.status_code = 200 if well else 503
    return answer
