"""What the routes about tokens take and answer.

Sources: vLLM's `/tokenize`, `/detokenize` and `/tokenizer_info`, which lm-evaluation-harness asks; llama.cpp's
`/apply-template` and the name of `parse_special`.
"""

from typing import Annotated

from pydantic import BaseModel, Field

from puna.serve.body import Body

_MODEL = "A name that /v1/models lists (the first of them)."


class TokenizeRequest(Body):
    """A text to be read as tokens."""

    model: str | None = Field(None, description=_MODEL)
    prompt: str = Field(description="The text.")
    add_special_tokens: bool | None = Field(
        None, description="Whether the ids begin with BOS where the model's texts do (true)."
    )
    parse_special: bool | None = Field(
        None,
        description="Whether the text of a control token is that token. In a prompt it never is, nor here if nothing "
        "is said, unless the whole text is a control token's.",
    )
    return_token_strs: bool | None = Field(None, description="Whether the tokens are told as text, too (false).")


class TokenizeAnswer(BaseModel):
    """The tokens of a text."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class DetokenizeRequest(Body):
    """Token ids to be read as text."""

    model: str | None = Field(None, description=_MODEL)
    tokens: Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1)]], Field(fail_fast=True)] = Field(
        description="Token ids; those of control tokens have no text."
    )


class DetokenizeAnswer(BaseModel):
    """The text of token ids."""

    prompt: str


class TokenizerInfo(BaseModel):
    """What a client needs to know of a model's tokenizer."""

    model: str
    tokenizer_class: str
    vocab_size: int
    add_bos_token: bool
    bos_token: str
    eos_token: str
    unk_token: str | None
    pad_token: str | None
    stop_token_ids: list[int]
    model_max_length: int
    chat_template: str | None
