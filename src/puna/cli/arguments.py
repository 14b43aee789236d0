"""Arguments that several commands share."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from puna.config.recipe import Recipe


def _recipes(incomplete: str) -> list[str]:
    """The shipped recipes whose names begin so, for the shell; where there are none it offers files."""
    from importlib import resources

    files = (resources.files("puna") / "config" / "recipes").iterdir()
    names = (file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
    return sorted(name for name in names if name.startswith(incomplete))


RecipeName: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="A shipped recipe, or a path to a .toml.", autocompletion=_recipes),
]
RecipeOrRun: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE",
        help="A shipped recipe, a path to a .toml, or a run, whose recipe is meant.",
        show_default=False,
        autocompletion=_recipes,
    ),
]
Overrides: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values to change, such as optim.lr=2e-4.")
]
Show: TypeAlias = Annotated[
    bool, typer.Option("--show", help="Print the resolved recipe with the origin of every value, and stop.")
]
Resume: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="Go on from the newest checkpoint, if there is one, exactly.")
]
StopAt: TypeAlias = Annotated[
    int | None, typer.Option("--stop-at", min=1, help="Save and leave after this step of the run.")
]
ForceRun: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--force", help="Delete the run that is there, with its checkpoints, model and exports, and start again."
    ),
]
DataPath: TypeAlias = Annotated[
    Path | None, typer.Option("--data-dir", help="The data build.  \\[default: data/NAME]", show_default=False)
]
DataSource: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--data-dir", help="The data build, also as s3://BUCKET/PATH.  \\[default: data/NAME]", show_default=False
    ),
]
RunPath: TypeAlias = Annotated[
    Path | None, typer.Option("--run-dir", help="The run.  \\[default: runs/NAME]", show_default=False)
]
TunedModel: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="What would be tuned: a run, a model in any format or on the hub, or a recipe whose [model] is meant.  "
        "\\[default: the recipe's train.init_from]",
        show_default=False,
    ),
]
RunOrModel: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="A run such as runs/demo, at any moment (runs/demo@step-400, @last, @best), or a model."
    ),
]
AnyModel: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A run, at any moment (RUN@step-400, RUN@last, RUN@best), a model in any format (a directory or file), or "
        "a name on Hugging Face's hub: OWNER/NAME.",
    ),
]


class WeightsKind(StrEnum):
    """What the weights of a model may be in memory."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    INT4 = "int4"


class ScheduleKind(StrEnum):
    """How the learning rate of a longer run may go on."""

    COSINE = "cosine"
    LINEAR = "linear"
    WSD = "wsd"
    CONSTANT = "constant"


ScheduleName: TypeAlias = Annotated[
    ScheduleKind | None,
    typer.Option(
        "--schedule",
        help="Of the learning rate from there on; linear ends at zero.  \\[default: goes on with the run's own]",
        show_default=False,
    ),
]


class CacheKind(StrEnum):
    """What keys and values may be in memory."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


WeightsAs: TypeAlias = Annotated[
    WeightsKind | None,
    typer.Option("--weights", help="How weights are kept.  \\[default: as stored]", show_default=False),
]
CacheAs: TypeAlias = Annotated[
    CacheKind | None,
    typer.Option(
        "--cache",
        help="How keys and values are kept.  \\[default: float32 for such weights, else float16]",
        show_default=False,
    ),
]
Draft: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--draft",
        metavar="MODEL|lookup",
        help="A small model, or the text itself, guesses tokens: the same text comes sooner.",
        show_default=False,
    ),
]
AdapterPath: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--adapter",
        metavar="PATH",
        help="An adapter in PEFT's format, or a run that left one; the model's weights stay as they are.",
        show_default=False,
    ),
]
Temperature: TypeAlias = Annotated[float, typer.Option(min=0, help="0 takes the most likely token each time.")]
TopK: TypeAlias = Annotated[int, typer.Option(min=0, help="Draw from this many of the likeliest tokens; 0 is all.")]
TopP: TypeAlias = Annotated[float, typer.Option(min=0, max=1, help="Nucleus sampling.")]
MinP: TypeAlias = Annotated[
    float, typer.Option(min=0, max=1, help="Draw from tokens this share as likely as the likeliest.")
]
RepetitionPenalty: TypeAlias = Annotated[
    float, typer.Option(help="Above 1, tokens that are there already are less likely.")
]
Device: TypeAlias = Annotated[str, typer.Option("--device", help="Where it runs, such as cuda.")]
Threads: TypeAlias = Annotated[
    int | None, typer.Option("--threads", min=1, help="On a CPU.  \\[default: one per core]", show_default=False)
]


class Dtype(StrEnum):
    """The dtypes that weights can be rounded to."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


From: TypeAlias = Annotated[
    str | None,
    typer.Option("--from", metavar="FORMAT", help="The format.  \\[default: recognised]", show_default=False),
]
TokenizerPath: TypeAlias = Annotated[
    Path | None,
    typer.Option("--tokenizer", help="The tokenizer's file or directory.  \\[default: beside the model]"),
]
Heads: TypeAlias = Annotated[
    int | None, typer.Option("--heads", min=1, help="Query heads, where no file says it (EasyLM).")
]
KeyHeads: TypeAlias = Annotated[int | None, typer.Option("--kv-heads", min=1, help="Key heads, where no file says it.")]
Context: TypeAlias = Annotated[int | None, typer.Option("--context", min=2, help="Positions, likewise.")]
NormEps: TypeAlias = Annotated[float | None, typer.Option("--norm-eps", help="RMSNorm's epsilon, likewise.")]
RopeTheta: TypeAlias = Annotated[float | None, typer.Option("--rope-theta", help="Rotary base, where no file says it.")]


def resolve(name: str, overrides: list[str] | None, show: bool, *, for_data: bool = False) -> "Recipe":
    """The recipe; with `show`, print it with its origins and leave.

    `for_data` is that of a command that only builds data, which schedule, batches and layout do not concern.

    Raises:
        ConfigError: There is no such recipe, problems in its values, or several values for a key.
    """
    from puna.api.recipes import load
    from puna.config.grid import split
    from puna.core.errors import ConfigError

    if several := split(overrides or [])[1]:
        raise ConfigError(
            [
                f"command line: {key!r} has {len(values)} values, this command takes one"
                for key, values in several.items()
            ],
            hint="`puna train` makes a run of each; a text with a comma is quoted: key='\"a,b\"'",
        )
    loaded = load(name, overrides, for_data=for_data)
    if show:
        from puna.config.explain import show as explain

        print(explain(loaded))
        raise typer.Exit
    return loaded.recipe


def processes() -> tuple[int, int]:
    """The number of this process and how many torchrun started; (0, 1) of one that is alone."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
