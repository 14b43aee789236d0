"""An application whose models are loaded before it answers and ended after it."""

from collections.abc import Callable

from puna.core.errors import UserError
from puna.serve.asgi import App, Receive, Scope, Send
from puna.serve.models import Models


class WithModels:
    """Loads models in the server's event loop, to which they belong (ASGI's lifespan protocol).

    Args:
        app: The routes.
        models: What they answer with.
        ready: Called when all are loaded.
    """

    def __init__(self, app: App, models: Models, ready: Callable[[], None] = lambda: None) -> None:
        self._app, self._models, self._ready = app, models, ready
        self.error: UserError | None = None
        """Why a model cannot be loaded, so that the server has ended before it began."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass requests on."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        try:
            await self._models.start()
        except UserError as error:
            self.error = error
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        self._ready()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._models.stop()
        await send({"type": "lifespan.shutdown.complete"})
