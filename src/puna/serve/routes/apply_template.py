"""`/apply-template`: a conversation as the model reads it, to look at and to count its tokens."""

import asyncio

from fastapi import APIRouter, Response

from puna.core.errors import GenerateError
from puna.serve.answers import of_generate, whole
from puna.serve.body import JsonRoute
from puna.serve.dependencies import Models, model_of
from puna.serve.dialogue import refuse_long_dialogue, template_of
from puna.serve.errors import ApiError, unsupported
from puna.serve.schema.apply_template import ApplyTemplateAnswer, ApplyTemplateRequest
from puna.serve.schema.chat import functions_of
from puna.serve.schema.error import ERRORS

router = APIRouter(route_class=JsonRoute, tags=["tokens"], responses=ERRORS)


@router.post("/apply-template", responses={200: {"model": ApplyTemplateAnswer}})
async def apply_template(body: ApplyTemplateRequest, models: Models) -> Response:
    """What the model's chat template writes for a conversation."""
    model = model_of(body.model, models)
    template, turns, tools = template_of(model), [turn.turn() for turn in body.messages], functions_of(body.tools)
    if tools and not await asyncio.to_thread(lambda: template.takes_tools):
        raise unsupported("tools", f"the chat template of the model {model.name} leaves tools out")
    refuse_long_dialogue(model, turns, tools)
    answer = body.add_generation_prompt is not False
    try:
        written = await asyncio.to_thread(template.render, turns, tools=tools, answer=answer)
        ids = await asyncio.to_thread(template.ids, turns, tools=tools, answer=answer)
    except GenerateError as error:
        raise ApiError(400, of_generate(error).message, param="messages") from None
    return whole({"prompt": written.text, "tokens": ids, "count": len(ids), "max_model_len": model.longest})
