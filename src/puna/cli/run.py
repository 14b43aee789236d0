"""`puna run`: all stages, from raw text to the report."""

from puna.cli.arguments import DataPath, Overrides, RecipeName, RunPath, Show, data_dir, resolve, run_dir


def run(
    recipe: RecipeName, overrides: Overrides = None, data: DataPath = None, run: RunPath = None, show: Show = False
) -> None:
    """Run all stages: data, tokenizer, training, export, report. Finished stages are skipped.

    It can be interrupted or killed at any moment, and run again.
    """
    resolved = resolve(recipe, overrides, show)
    from puna.cli.stages import walk

    walk(resolved, data_dir(data, resolved), run_dir(run, resolved))
