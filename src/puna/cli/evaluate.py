"""`puna evaluate`: benchmarks by the rules of papers."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

import puna
from puna.cli.arguments import (
    AnyModel,
    CacheAs,
    Context,
    Device,
    From,
    Heads,
    KeyHeads,
    NormEps,
    RopeTheta,
    Threads,
    TokenizerPath,
    WeightsAs,
    processes,
)
from puna.cli.json_output import json_line

Engine: TypeAlias = Literal["puna", "lm-eval"]


def evaluate(
    path: AnyModel,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            metavar="TASK,...",
            help="Tasks by name, with solved examples as llama/mmlu@5.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Documents of each task at most.  \\[default: all]", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the documents of --limit.")] = 0,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            min=1,
            help="Texts for each document where a task draws several.  \\[default: the task's]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The results.  \\[default: RUN/evaluations/step-N, or evaluations/NAME]",
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="A directory with the data of benchmarks.", show_default=False),
    ] = None,
    allow_code_execution: Annotated[
        bool, typer.Option("--allow-code-execution", help="Run programs that the model writes, in a sandbox.")
    ] = False,
    scorer: Annotated[
        list[str] | None,
        typer.Option(
            "--scorer",
            metavar="NAME",
            help="Judges texts that the model writes: perspective, or a package's.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="Who asks: puna, or lm-eval with tasks of lm-evaluation-harness.")
    ] = "puna",
    split: Annotated[bool, typer.Option("--split", help="Under torchrun: share the model, not the documents.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    weights: WeightsAs = None,
    cache: CacheAs = None,
    device: Device = "cpu",
    threads: Threads = None,
    tokenizer: TokenizerPath = None,
    form: From = None,
    heads: Heads = None,
    kv_heads: KeyHeads = None,
    context: Context = None,
    norm_eps: NormEps = None,
    rope_theta: RopeTheta = None,
) -> None:
    """Evaluate a model on benchmarks by the rules of papers; what was done is kept if the command is interrupted.

    Under torchrun the processes share the documents.
    """
    found = puna.evaluate(
        path, tasks=tasks or (), limit=limit, seed=seed, samples=samples, out=out, data_dir=data_dir,
        allow_code_execution=allow_code_execution, scorer=scorer or (), engine=engine, split=split,
        weights=weights, cache=cache, device=device, threads=threads, format=form, tokenizer=tokenizer, heads=heads,
        kv_heads=kv_heads, context=context, norm_eps=norm_eps, rope_theta=rope_theta,
    )  # fmt: skip
    if processes()[0] == 0:
        print(json_line(found.results.as_dict()) if as_json else found)
