"""The application: routes, and one form of errors.

A family of routes is a module of `serve.routes` with a `router`:

```python
router = APIRouter(route_class=JsonRoute, tags=["chat"], responses=ERRORS)

@router.post("/v1/chat/completions", responses={200: {"model": ChatAnswer, "content": {"text/event-stream": {}}}})
async def chat(body: ChatRequest, models: Models, caller: From, http: Request) -> Response: ...
```

`body` is a class below `body.Body`; a stream is an `events.EventStream` that `begin` makes from the frames of
`answers.told`, and what is not streamed is `answers.completions` inside `answers.unless_left`. The router is put into
`_ROUTERS` here.
"""

import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from puna.core.errors import GenerateError
from puna.core.version import VERSION
from puna.serve.answers import of_generate
from puna.serve.body import problem_of
from puna.serve.errors import ApiError, internal
from puna.serve.metrics import Metrics
from puna.serve.routes import (
    apply_template,
    chat,
    completions,
    easylm,
    health,
    metrics,
    models,
    page,
    responses,
    tokenizer,
)
from puna.serve.served_model import ServedModels

_ROUTERS = (
    models.router,
    completions.router,
    chat.router,
    responses.router,
    tokenizer.router,
    apply_template.router,
    easylm.router,
    health.router,
    metrics.router,
    page.router,
)
_log = logging.getLogger("puna.serve")


def make_app(served: ServedModels) -> FastAPI:
    """The application of a server; what guards it and counts its requests is put around it (`serve.run.guarded`).

    Args:
        served: The models that it answers with; whoever made them starts and stops them.
    """
    # FastAPI's pages of documentation load their scripts from elsewhere.
    app = FastAPI(
        title="Puna", version=VERSION, docs_url=None, redoc_url=None, openapi_url="/openapi.json",
        description="OpenAI's interface and others to models that Puna serves.", redirect_slashes=False,
    )  # fmt: skip
    app.state.metrics = Metrics()
    app.state.models = app.state.metrics.measured(served)
    for router in _ROUTERS:
        app.include_router(router)
    app.add_exception_handler(ApiError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(GenerateError, _of_generate)
    app.add_exception_handler(Exception, _defect)
    return app


def answered(error: ApiError) -> Response:
    """An error as the answer to a request."""
    return JSONResponse(error.body, status_code=error.status, headers=error.headers)


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - what the handler is registered for
    return answered(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return answered(problem_of(error))


async def _of_generate(request: Request, error: Exception) -> Response:
    assert isinstance(error, GenerateError)  # noqa: S101
    return answered(of_generate(error))


async def _of_http(request: Request, error: Exception) -> Response:
    """What Starlette refuses: a path that there is not, or a method that the path does not take."""
    assert isinstance(error, HTTPException)  # noqa: S101
    message = {
        404: f"there is no {request.url.path:.80} here; /openapi.json lists what there is",
        405: f"{request.method:.20} is not a method of {request.url.path:.80}",
    }.get(error.status_code, "the request cannot be read")
    told = ApiError(error.status_code, message)
    return JSONResponse(told.body, status_code=error.status_code, headers=error.headers)


async def _defect(request: Request, error: Exception) -> Response:
    """Starlette raises the error again behind this answer, and uvicorn's log has its stack."""
    return answered(internal())
