"""What `/health` answers."""

from typing import Literal

from pydantic import BaseModel


class ModelHealth(BaseModel):
    """Whether a model answers, and why not."""

    state: Literal["loading", "ready", "unloaded", "failed"]
    reason: str


class Health(BaseModel):
    """Whether each model answers."""

    status: Literal["ok", "unavailable"]
    models: dict[str, ModelHealth]
