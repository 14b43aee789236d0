"""What a run of instruction tuning leaves: a model that chats, in the directory of the run."""

from puna.core.layout import RunDir
from puna.finetune.begin import Base
from puna.model.files import save_model
from puna.train.finish import save_whole
from puna.train.session import Session


def leave(session: Session, run: RunDir, base: Base, inputs: dict[str, str]) -> dict[str, str]:
    """Write the tuned model with its tokenizer and chat template; every process does it at the same time.

    Args:
        session: After its last step.
        run: Where the model goes.
        base: The model that it began with.
        inputs: Hashes of what the model was made from.

    Returns:
        The hashes of its files by name, on the main process.
    """
    template = base.template.source
    return save_whole(
        session,
        lambda: save_model(session.model, run.model, tokenizer=base.tokenizer, inputs=inputs, chat_template=template),
    )
