"""`puna evaluate`: benchmarks by the rules of papers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

import puna
from puna.cli.arguments import (
    AdapterPath,
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
from puna.core.console import say
from puna.core.errors import EvaluateError

if TYPE_CHECKING:
    from puna.api.evaluate import Evaluation
    from puna.api.evaluate_checkpoints import RunEvaluation

Engine: TypeAlias = Literal["puna", "lm-eval"]


def evaluate(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="A run, at any moment (RUN@step-400, RUN@last, RUN@best), a model in any format, a name on "
            "Hugging Face's hub, or an endpoint (http://HOST/v1); with --compare two directories of evaluations; with "
            "--list and --fetch names of suites, protocols or tasks.",
            show_default=False,
        ),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            metavar="TASK,...",
            help="Tasks by name, with solved examples as llama/mmlu@5; files of your own tasks (.toml).",
            show_default=False,
        ),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option("--suite", help="The tables of llama, openllama, openlm or core.", show_default=False),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against", metavar="MODEL,...", help="Published columns.  \\[default: all of a suite]", show_default=False
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
    scorer: Annotated[
        list[str] | None,
        typer.Option("--scorer", help="What judges texts, such as perspective.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The results.  \\[default: RUN/evaluations/step-N, or evaluations/NAME]",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The last part of that path instead.", show_default=False)
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="A directory with the data of benchmarks.", show_default=False),
    ] = None,
    allow_code_execution: Annotated[
        bool, typer.Option("--allow-code-execution", help="Run programs that the model writes, in a sandbox.")
    ] = False,
    engine: Annotated[
        Engine, typer.Option("--engine", help="Who asks: puna, or lm-eval with tasks of lm-evaluation-harness.")
    ] = "puna",
    served: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="Of an endpoint with several models: which one.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds that an endpoint may be silent.")
    ] = 600.0,
    all_checkpoints: Annotated[
        bool, typer.Option("--all-checkpoints", help="Every saved step of a run, for the curves of its report.")
    ] = False,
    split: Annotated[bool, typer.Option("--split", help="Under torchrun: share the model, not the documents.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="List tasks, and whether their data is here.")] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="Get the data of tasks.")] = False,
    comparing: Annotated[
        bool, typer.Option("--compare", help="Compare two evaluations, document by document.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, of every saved step a line.")] = False,
    adapter: AdapterPath = None,
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
    """Evaluate a model on benchmarks by the rules of papers, its column beside the published ones.

    What was done is kept if the command is interrupted. Under torchrun the processes share the documents.
    """
    named = paths or []
    if listing or fetch:
        from puna.api.benchmarks import fetch_data
        from puna.evaluate.wanted import names_of

        # Tasks and suites are named as for an evaluation, too.
        every = [*named, *([] if suite is None else [suite]), *names_of(tasks or ())]
        _list(every, data_dir) if listing else fetch_data(every, data_dir=data_dir)
    elif comparing:
        _compare(named)
    else:
        if len(named) != 1:
            raise EvaluateError(f"expected one model, got {len(named) or 'none'}")
        ask = puna.evaluate_checkpoints if all_checkpoints else puna.evaluate
        found = ask(
            named[0], tasks=tasks or (), suite=suite, against=against or (), limit=limit, seed=seed, samples=samples,
            scorer=scorer or (), out=out, name=name, data_dir=data_dir, allow_code_execution=allow_code_execution,
            engine=engine, served=served, timeout=timeout, split=split, weights=weights, cache=cache,
            device=device, threads=threads, format=form, tokenizer=tokenizer, heads=heads, kv_heads=kv_heads,
            context=context, norm_eps=norm_eps, rope_theta=rope_theta, adapter=adapter,
        )  # fmt: skip
        if processes()[0] == 0:
            _show(found, as_json)


def _show(found: "Evaluation | RunEvaluation", as_json: bool) -> None:
    from puna.api.evaluate_checkpoints import RunEvaluation

    if as_json:
        for one in found.evaluations if isinstance(found, RunEvaluation) else [found]:
            print(json_line(one.results.as_dict()))
        return
    if isinstance(found, RunEvaluation):
        print(found)
        return
    from rich.console import Console

    from puna.evaluate.table_forms import print_tables

    print_tables(found.tables, Console(highlight=False, emoji=False, markup=False))


def _list(names: list[str], data_dir: Path | None) -> None:
    """A line for each task: its id, metrics, data, licence, and whether the data is here."""
    from puna.api.benchmarks import list_tasks

    tasks = list_tasks(names, data_dir=data_dir)
    rows = [
        (task.id, "missing" if task.missing else "here", ", ".join(task.metrics), task.data, task.licence, task.title)
        for task in tasks
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for missing in dict.fromkeys(task.missing for task in tasks if task.missing):
        say(missing)


def _compare(paths: list[str]) -> None:
    from puna.core.layout import EvaluationDir
    from puna.evaluate.compare import compare

    if len(paths) != 2:
        raise EvaluateError(f"--compare: expected two directories of evaluations, got {len(paths) or 'none'}")
    print(compare(*(EvaluationDir(Path(path)) for path in paths)))
