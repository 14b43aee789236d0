"""What `/v1/models` answers. Source: OpenAI's API reference, "Models"; `max_model_len` and `parent` are vLLM's."""

from typing import Literal

from pydantic import BaseModel


class ModelCard(BaseModel):
    """A model that the server has."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int
    title: str
    chat: bool
    parent: str | None


class ModelList(BaseModel):
    """All models of the server, the default one first."""

    object: Literal["list"]
    data: list[ModelCard]
