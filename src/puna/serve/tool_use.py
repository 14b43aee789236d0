"""The functions of a request: whether the model can call them, which ones it may or must, and who reads its calls."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from puna.chat.tool_calls import CallReader, ToolForm
from puna.chat.tools import Tool
from puna.core.errors import GenerateError
from puna.infer.guides import Guide
from puna.serve.answers import of_generate
from puna.serve.dialogue import template_of
from puna.serve.errors import unsupported
from puna.serve.served_model import ServedModel
from puna.serve.structured import FUNCTION_SCHEMA, check_guide, guide_for_tools


@dataclass(frozen=True)
class ToolUse:
    """Functions that an answer may call."""

    form: ToolForm
    """How the model writes calls."""
    names: frozenset[str]
    """Of the functions that may be called."""
    guide: Guide | None
    """Of an answer that has to call, or whose calls are held to something; None where it may be any text."""

    def reader(self, *, early: bool) -> CallReader:
        """A reader of one answer.

        Args:
            early: Whether calls are told while they are written.
        """
        return CallReader(self.form, self.names, early=early)


async def tool_use(
    model: ServedModel, tools: Sequence[Tool], *, allowed: Collection[str] | None = None, required: bool = False,
    several: bool = True, strict: Collection[str] = (),
    schema: str = FUNCTION_SCHEMA,
) -> ToolUse | None:  # fmt: skip
    """How the functions of a request are used; None where there are none.

    Args:
        model: Whose chat template writes them.
        tools: All that the model is told of.
        allowed: The names of those that it may call; None is all.
        required: Whether it must call one.
        several: Whether it may call more than one.
        strict: The names of the functions whose arguments have to fit their schemas. Those of a call that is required
            have to in any case.
        schema: Where the schema of arguments stands in a function of the request, for errors.

    Raises:
        ApiError: The model's template leaves tools out, or writes calls in a form that is not known; or the schema
            of a function's arguments has to be enforced and cannot be (400).
    """
    if not tools:
        return None
    template = template_of(model)
    try:
        form = await asyncio.to_thread(lambda: template.tool_form)
    except GenerateError as error:
        raise of_generate(error) from None
    if form is None:
        why = "writes calls in a form that is not known" if template.takes_tools else "leaves tools out"
        raise unsupported("tools", f"the chat template of the model {model.name} {why}")
    names = frozenset(tool.name for tool in tools) if allowed is None else frozenset(allowed)
    guide = None
    if required or strict or not several:
        guide = guide_for_tools(
            form, [tool for tool in tools if tool.name in names], several=several, optional=not required,
            strict=None if required else strict, schema=schema,
        )  # fmt: skip
        await check_guide(guide, model, param="tools")
    return ToolUse(form, names, guide)
