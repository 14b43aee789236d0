"""`puna export`: the model in other systems' formats, with proof."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from puna.cli.arguments import Force, RunOrModel


class Form(StrEnum):
    """The formats that can be written."""

    HF = "hf"


def export(
    run: RunOrModel,
    to: Annotated[Form, typer.Option("--to", help="The format: hf is Hugging Face's LlamaForCausalLM.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write.  [default: RUN/exports/FORMAT]", show_default=False)
    ] = None,
    force: Force = False,
) -> None:
    """Write the model in another format and prove that it is the same model."""
    from puna.cli.stages import export_model

    export_model(run, to.value, out, force=force)
