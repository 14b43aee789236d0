"""What `/health` answers."""

from typing import Literal

from pydantic import BaseModel

from puna.serve.served_model import State


class Health(BaseModel):
    """Whether each model answers."""

    status: Literal["ok", "unavailable"]
    models: dict[str, State]
