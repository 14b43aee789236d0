"""`puna run`: all stages, from raw text to the report."""

import puna
from puna.cli.arguments import DataPath, Overrides, RecipeName, RunPath, Show, resolve


def run(
    recipe: RecipeName, overrides: Overrides = None, data: DataPath = None, run: RunPath = None, show: Show = False
) -> None:
    """Run all stages: data, tokenizer, training, export, report. Finished stages are skipped.

    It can be interrupted or killed at any moment, and run again.
    """
    puna.run(resolve(recipe, overrides, show), data, run)
