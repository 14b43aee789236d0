"""All commands, in the order in which they are used."""

from typing import Any

import typer
from typer.core import TyperGroup

from puna.cli import (
    bench,
    chat,
    compare,
    data,
    evaluate,
    export,
    finetune,
    generate,
    import_,
    init,
    inspect_model,
    perplexity,
    plan,
    recipes,
    report,
    run,
    search,
    serve,
    tokenizer,
    train,
    tune,
    verify,
)
from puna.cli.empty_paths import refuse_empty_paths

_ROAD = [
    "recipes",
    "init",
    "plan",
    "data",
    "tokenizer",
    "tune",
    "train",
    "finetune",
    "verify-resume",
    "export",
    "import",
    "inspect",
    "generate",
    "chat",
    "serve",
    "perplexity",
    "evaluate",
    "trace",
    "bench",
    "report",
    "compare",
    "run",
]


class Road(TyperGroup):
    """The commands in the order of their use; typer would list groups of commands after the others."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands, in their order."""
        return _ROAD

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The command that was asked for, by name; the export with the options of all formats."""
        name, found, rest = super().resolve_command(ctx, args)
        command = export.command() if name == "export" else found
        if not ctx.resilient_parsing:  # as it is where a shell asks what may come next
            refuse_empty_paths(command, rest)
        return name, command, rest


app = typer.Typer(
    name="puna",
    cls=Road,
    help="LLaMA as one system: raw text to a trained, exported, talking model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from puna.core.version import VERSION

        print(VERSION)
        raise typer.Exit


@app.callback()
def puna(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """LLaMA as one system: raw text to a trained, exported, talking model."""


app.command("recipes")(recipes.recipes)
app.command("init")(init.init)
app.command("plan")(plan.plan)
app.add_typer(data.app, name="data")
app.add_typer(tokenizer.app, name="tokenizer")
app.command("tune")(tune.tune)
app.command("train")(train.train)
app.command("finetune")(finetune.finetune)
app.command("verify-resume")(verify.verify_resume)
app.command("export")(export.export)
app.command("import")(import_.import_)
app.command("inspect")(inspect_model.inspect)
app.command("generate")(generate.generate)
app.command("chat")(chat.chat)
app.command("serve")(serve.serve)
app.command("perplexity")(perplexity.perplexity)
app.command("evaluate")(evaluate.evaluate)
app.command("trace")(search.trace)
app.add_typer(bench.app, name="bench")
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("run")(run.run)
