"""Fields of requests that say what an answer is to be: OpenAI's formats, and vLLM's `structured_outputs`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from puna.serve.body import Body


class TextFormat(Body):
    """An answer that is any text: the default."""

    type: Literal["text"]


class JsonObjectFormat(Body):
    """An answer that is any JSON object."""

    type: Literal["json_object"]


class NamedSchema(Body):
    """A JSON schema of the answer."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="A word for readers: it changes no text.")
    description: str | None = Field(None, description="A text for readers: it changes no text.")
    schema_: dict[str, Any] = Field(
        alias="schema",
        description="JSON Schema 2020-12. A keyword that would not be enforced is refused; properties come in the "
        "schema's order.",
    )
    strict: bool | None = Field(None, description="The schema is enforced either way.")


class JsonSchemaFormat(Body):
    """An answer that is JSON of a schema, as `response_format` of chat completions has it."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


class FlatJsonSchemaFormat(NamedSchema):
    """An answer that is JSON of a schema, as `text.format` of responses has it."""

    type: Literal["json_schema"]


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]
"""`response_format` of chat completions."""
ResponseTextFormat = Annotated[TextFormat | JsonObjectFormat | FlatJsonSchemaFormat, Field(discriminator="type")]
"""`text.format` of responses."""


class StructuredOutputs(Body):
    """vLLM's extension of completions and chat completions, of which one field is given.

    Source: https://docs.vllm.ai/en/latest/features/structured_outputs/, read in 2026.
    """

    json_: dict[str, Any] | str | None = Field(None, alias="json", description="A JSON schema, or its text.")
    json_object: bool | None = Field(None, description="Whether the answer is any JSON object.")
    regex: str | None = Field(None, description="A regular expression that the whole answer matches.")
    choice: Annotated[list[str], Field(fail_fast=True)] | None = Field(
        None, description="Texts of which the answer is one."
    )
