"""`puna export`: the model in other systems' formats, with proof.

The formats and their options come from the table of formats, to which installed packages add: the command is made when
it is asked for, so that other commands look for none.
"""

import inspect
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import puna
from puna.cli.arguments import Dtype, RunOrModel

if TYPE_CHECKING:
    from puna.formats.format import Format


def export() -> None:
    """Write the model in another format and prove that it is the same model."""


def _export(
    run: RunOrModel,
    to: Annotated[str, typer.Option("--to", help="The format.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write.  \\[default: RUN/exports/FORMAT]", show_default=False)
    ] = None,
    dtype: Annotated[
        Dtype | None,
        typer.Option("--dtype", help="Round the weights to it; of gguf, the matrices.  \\[default: as they are]"),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option("--text", help="Held-out text to compare on.  \\[default: of the run's data, in data/NAME]"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Compare weights and tokenizers only, run no model.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the export that is there.")] = False,
    **of_format: str | None,
) -> None:
    chosen = {name: value for name, value in of_format.items() if value is not None}
    puna.export(run, str(to), out, dtype=dtype and dtype.value, text=text, quick=quick, force=force, **chosen)


def command() -> Any:
    """The command with the formats that can be written and all of their options.

    Raises:
        UserError: An installed package adds a format that cannot be used.
    """
    from puna.formats.registry import writable

    targets = writable()
    parameters = dict(inspect.signature(_export).parameters)
    del parameters["of_format"]
    names: Any = StrEnum("Target", {form.name: form.name for form in targets})
    titles = "; ".join(f"{form.name}: {form.title}" for form in targets)
    parameters["to"] = parameters["to"].replace(
        annotation=Annotated[names, typer.Option("--to", help=f"The format.  {titles}.")]
    )
    own = _options(targets)
    # Those of the formats come before what is about the proof.
    before = [parameters.pop(name) for name in ("run", "to", "out", "dtype")]

    def made(**arguments: Any) -> None:
        _export(**arguments)

    made.__doc__ = export.__doc__
    signature = inspect.Signature([*before, *own, *parameters.values()])
    made.__signature__ = signature  # pyrefly: ignore[missing-attribute]
    made.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command("export", context_settings={"help_option_names": ["-h", "--help"]})(made)
    return typer.main.get_command(app)


def _options(targets: "list[Format]") -> list[inspect.Parameter]:
    """One option for each name, which several formats may have."""
    owners: dict[str, list[tuple[Format, Any]]] = {}
    for form in targets:
        for option in form.options:
            owners.setdefault(option.name, []).append((form, option))
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[
                str | None,
                typer.Option(
                    having[0][1].flag,
                    metavar=having[0][1].metavar if len({option.metavar for _, option in having}) == 1 else "TEXT",
                    help="; ".join(f"{form.name}: {option.help}" for form, option in having) + ".",
                    show_default=False,
                ),
            ],
        )
        for name, having in owners.items()
    ]
