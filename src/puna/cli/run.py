"""`puna run`: the whole road."""

from puna.cli.arguments import DataPath, Overrides, RecipeName, RunPath, Show, data_dir, resolve, run_dir


def run(
    recipe: RecipeName, overrides: Overrides = None, data: DataPath = None, run: RunPath = None, show: Show = False
) -> None:
    """Walk the whole road: data, tokenizer, training, export, report. What is finished is skipped.

    It can be interrupted anywhere, even killed, and called again.
    """
    resolved = resolve(recipe, overrides, show)
    from puna.cli.stages import walk

    walk(resolved, data_dir(data, resolved), run_dir(run, resolved))
