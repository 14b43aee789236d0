"""What a run of instruction tuning leaves in its directory: a model that chats, and its adapter where it has one."""

import os
from dataclasses import replace

from puna.core.files import write_bytes, write_text
from puna.core.hub_name import hub_name
from puna.core.layout import RunDir
from puna.finetune.begin import Base
from puna.formats.peft.write import write_adapter
from puna.model import lora
from puna.model.files import save_model
from puna.tokenizer.chat_template import CHAT_TEMPLATE
from puna.train.finish import save_whole
from puna.train.session import Session


def leave(session: Session, run: RunDir, base: Base, inputs: dict[str, str]) -> dict[str, str]:
    """Write the tuned model with its tokenizer and chat template; every process does it at the same time.

    Low-rank updates are written as an adapter, and merged into the model. On a quantized base they are left alone: what
    was learned beside rounded weights does not belong to others.

    Args:
        session: After its last step.
        run: Where the model goes.
        base: The model that it began with.
        inputs: Hashes of what the model was made from.

    Returns:
        The hashes of its files by name, on the main process.
    """
    tuning = session.recipe.finetune
    assert tuning is not None  # noqa: S101 - the session is of this kind
    outputs: dict[str, str] = {}
    if tuning.method == "lora":
        outputs = _adapter(session, run, base)
        if tuning.base != "as-it-is":
            return outputs
        lora.merge_(session.model)
    return outputs | save_whole(
        session,
        lambda: save_model(
            session.model, run.model, tokenizer=base.tokenizer, inputs=inputs, chat_template=base.template.source
        ),
    )


def _adapter(session: Session, run: RunDir, base: Base) -> dict[str, str]:
    """Write the adapter beside the model, with what a model needs to chat with it."""
    tuning = session.recipe.finetune
    assert tuning is not None  # noqa: S101 - the session is of this kind
    adapter = replace(
        lora.adapter_of(session.model), base=_seen_from(run, base.place), base_sha256=session.state.initial_weights
    )
    if not session.world.main:
        return {}
    model, dropout = session.recipe.model, tuning.lora.dropout
    files = write_adapter(
        adapter, run.adapter, layers=model.n_layers, dropout=dropout, tied=model.tie_embeddings, replace=True
    )  # fmt: skip
    write_text(run.adapter / CHAT_TEMPLATE, base.template.source)
    write_bytes(run.adapter / base.tokenizer.file, base.tokenizer.content)
    return {f"adapter/{name}": digest for name, digest in files.items()}


def _seen_from(run: RunDir, place: str) -> str:
    """The base as the adapter names it: relative to the adapter where the user's path was relative.

    So it is found from every directory, and where both are moved.
    """
    if hub_name(place) is not None or os.path.isabs(place) or place.startswith("~"):
        return place
    return os.path.relpath(place, run.adapter)
