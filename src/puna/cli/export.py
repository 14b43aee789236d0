"""`puna export`: the model in other systems' formats, with proof."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from puna.cli.arguments import Dtype, Force, RunOrModel

if TYPE_CHECKING:
    from puna.formats.easylm.write import Form


class Target(StrEnum):
    """The formats that can be written."""

    HF = "hf"
    LLAMA = "llama"
    EASYLM = "easylm"
    GGUF = "gguf"
    LLAMA2C = "llama2c"
    OPENLM = "openlm"


class EasyLMForm(StrEnum):
    """EasyLM's three kinds of checkpoints."""

    PARAMS = "params"
    TRAIN_STATE = "train_state"
    FLAX_PARAMS = "flax_params"


def export(
    run: RunOrModel,
    to: Annotated[
        Target,
        typer.Option(
            "--to",
            help="The format: Hugging Face, Meta's original, EasyLM, GGUF (llama.cpp), llama2.c or OpenLM.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write.  \\[default: RUN/exports/FORMAT]", show_default=False)
    ] = None,
    dtype: Annotated[
        Dtype | None,
        typer.Option("--dtype", help="Round the weights to it; of gguf, the matrices.  \\[default: as they are]"),
    ] = None,
    gguf_type: Annotated[
        str | None,
        typer.Option(
            "--type", help="gguf: F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0, …  \\[default: as they are]"
        ),
    ] = None,
    model_parallel: Annotated[
        int | None, typer.Option("--model-parallel", min=1, help="llama: number of files.  \\[default: 1]")
    ] = None,
    easylm_form: Annotated[
        EasyLMForm | None, typer.Option("--form", help="easylm: which of its files.  \\[default: params]")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option("--text", help="Held-out text to compare on.  \\[default: of the run's data, in data/NAME]"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Compare weights and tokenizers only, run no model.")] = False,
    force: Force = False,
) -> None:
    """Write the model in another format and prove that it is the same model."""
    from puna.cli.proof_text import proof_text
    from puna.cli.stages import export_model
    from puna.formats.export_model import Options

    options = Options(
        dtype=dtype and dtype.value, gguf_type=gguf_type, model_parallel=model_parallel,
        easylm_form=cast("Form | None", easylm_form and easylm_form.value), run=not quick
    )  # fmt: skip
    export_model(run, to.value, out, proof_text(run, text), options, force=force)
