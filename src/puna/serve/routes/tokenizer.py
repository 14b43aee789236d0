"""`/tokenize`, `/detokenize` and `/tokenizer_info`: a model's tokens, for clients that count or compare them."""

import asyncio

from fastapi import APIRouter, Response

from puna.serve.answers import whole
from puna.serve.body import JsonRoute
from puna.serve.dependencies import Models, model_of
from puna.serve.errors import ApiError
from puna.serve.schema.error import ERRORS
from puna.serve.schema.tokenizer import (
    DetokenizeAnswer,
    DetokenizeRequest,
    TokenizeAnswer,
    TokenizeRequest,
    TokenizerInfo,
)  # fmt: skip
from puna.serve.token_names import names_of
from puna.tokenizer.bos import prompt_ids
from puna.tokenizer.tokenizer import Tokenizer

_LONGEST_CONTROL = 100
"""Characters of a control token's text; no model has a longer one."""

router = APIRouter(route_class=JsonRoute, tags=["tokens"], responses=ERRORS)


@router.post("/tokenize", responses={200: {"model": TokenizeAnswer}})
async def tokenize(body: TokenizeRequest, models: Models) -> Response:
    """The token ids of a text."""
    model = model_of(body.model, models)
    special = _is_control(model.tokenizer, body.prompt) if body.parse_special is None else body.parse_special
    if body.add_special_tokens is False:
        ids = await asyncio.to_thread(model.tokenizer.encode, body.prompt, special=special)
    else:
        ids = await asyncio.to_thread(prompt_ids, model.tokenizer, body.prompt, special=special)
    names = names_of(model.tokenizer)
    return whole({
        "count": len(ids), "max_model_len": model.longest, "tokens": ids,
        "token_strs": [names[one] for one in ids] if body.return_token_strs else None,
    })  # fmt: skip


@router.post("/detokenize", responses={200: {"model": DetokenizeAnswer}})
async def detokenize(body: DetokenizeRequest, models: Models) -> Response:
    """The text of token ids."""
    tokenizer = model_of(body.model, models).tokenizer
    if body.tokens and (largest := max(body.tokens)) >= tokenizer.vocab_size:
        raise ApiError(
            400, f"tokens has {largest}, but the vocabulary has {tokenizer.vocab_size} tokens", param="tokens"
        )
    return whole({"prompt": await asyncio.to_thread(tokenizer.decode, body.tokens)})


@router.get("/tokenizer_info", responses={200: {"model": TokenizerInfo}})
async def tokenizer_info(models: Models, model: str | None = None) -> Response:
    """What a model's tokenizer is."""
    found = model_of(model, models)
    tokenizer = found.tokenizer
    return whole({
        "model": found.name, "tokenizer_class": tokenizer.title, "vocab_size": tokenizer.vocab_size,
        "add_bos_token": tokenizer.add_bos, "bos_token": _piece(tokenizer, tokenizer.bos_id),
        "eos_token": _piece(tokenizer, tokenizer.eos_id), "unk_token": _piece(tokenizer, tokenizer.unk_id),
        "pad_token": None, "stop_token_ids": tokenizer.stops, "model_max_length": found.longest,
        "chat_template": None if found.template is None else found.template.source,
    })  # fmt: skip


def _piece(tokenizer: Tokenizer, token: int | None) -> str | None:
    return None if token is None else tokenizer.piece(token)


def _is_control(tokenizer: Tokenizer, text: str) -> bool:
    """Whether a text is that of one control token and nothing else: so clients ask for the token's id."""
    ids = tokenizer.encode(text, special=True) if len(text) <= _LONGEST_CONTROL else []
    return len(ids) == 1 and tokenizer.is_control(ids[0]) and tokenizer.piece(ids[0]) == text
