"""`puna tune`: the fastest micro-batch and recomputation on this machine."""

from typing import Annotated

import typer

from puna.cli.arguments import Overrides, RecipeName, Show, resolve


def tune(
    recipe: RecipeName,
    overrides: Overrides = None,
    policies: Annotated[str, typer.Option(help="Recomputation policies to try, with commas.")] = "none,llama,full",
    steps: Annotated[int, typer.Option(min=1, help="Counted steps per setting.")] = 3,
    show: Show = False,
) -> None:
    """Measure micro-batches and recomputation policies on one device of this machine; print the fastest as overrides.

    No data is needed; each setting runs in a process of its own, so one that does not fit does no harm.
    """
    resolved = resolve(recipe, overrides, show)
    from puna.train.tune import fastest
    from puna.train.tune import tune as measure

    best = fastest(measure(resolved, [policy.strip() for policy in policies.split(",")], steps))
    print(f"train.micro_batch_tokens={best.micro_batch_tokens} train.recompute={best.recompute}")
