"""`/metrics`: what the server counts, for Prometheus."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from puna.serve.body import JsonRoute
from puna.serve.caller import ANYONE
from puna.serve.dependencies import From
from puna.serve.errors import ApiError
from puna.serve.schema.error import ERRORS

KEY = "metrics"
"""The name of the key that may read them, where a server has keys."""

router = APIRouter(route_class=JsonRoute, tags=["server"], responses=ERRORS)


@router.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def metrics(request: Request, caller: From, accept: Annotated[str, Header()] = "") -> Response:
    """Requests, tokens, times and states, in Prometheus's text form or as OpenMetrics."""
    if caller != ANYONE and caller.name != KEY:
        raise ApiError(403, f"only the key of the name {KEY} reads what all others did")
    page, content_type = request.app.state.metrics.page(accept)
    return Response(page, media_type=None, headers={"Content-Type": content_type})
