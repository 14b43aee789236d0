"""Benchmarks by the rules of papers: from a model to tables, in one call."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from puna.core.console import muted, say, warn
from puna.core.errors import EvaluateError, Interrupted
from puna.core.layout import EvaluationDir
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from typing import TypeAlias

    from puna.api.language_model import LanguageModel
    from puna.api.recipes import PathLike
    from puna.core.records import Record
    from puna.core.schema.evaluation import Results
    from puna.evaluate.documents import OpenSplit
    from puna.evaluate.run import Processes
    from puna.evaluate.scorer import ScorerEntry
    from puna.evaluate.series import Setting, Subject
    from puna.evaluate.tables import ResultTable
    from puna.evaluate.wanted import Wanted

    Run: TypeAlias = Callable[[Subject, EvaluationDir], tuple[Results, Record]]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation that is done; `print` shows its tables."""

    directory: EvaluationDir
    """Where everything about it lies."""
    results: "Results"
    """All figures of the directory, those of earlier calls with the same model too."""
    tables: "list[ResultTable]"
    """The tables of the suite, or else one with all figures."""

    def __str__(self) -> str:
        from puna.evaluate.table_forms import as_text

        return as_text(self.tables)


def evaluate(
    model: "LanguageModel | PathLike",
    *,
    tasks: str | Sequence[str] = (),
    suite: str | None = None,
    against: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    samples: int | None = None,
    scorer: str | Sequence[str] = (),
    out: "PathLike | None" = None,
    name: str | None = None,
    data_dir: "PathLike | None" = None,
    allow_code_execution: bool = False,
    engine: Literal["puna", "lm-eval"] = "puna",
    served: str | None = None,
    timeout: float = 600.0,
    **options: Any,
) -> Evaluation:
    """Ask a model the questions of benchmarks, and write down its answers and the papers' tables with its column.

    What is done is kept at once, so a call that was interrupted goes on where it was when it is made again. Under
    torchrun the processes share the documents, or the model if `split` is given; the figures stay the same.

    Args:
        model: A model, or what `load` takes: a run, a moment of it, a path, a name on the hub. Or the address of an
            endpoint that speaks OpenAI's `/completions`: `http://127.0.0.1:8000/v1`; the environment variable
            `OPENAI_API_KEY` has its key.
        tasks: Names such as `harness/hellaswag` or, with another number of solved examples, `llama/mmlu@5`, and TOML
            files with tasks of your own; or one text with commas between them. All of them are done, or none.
        suite: The tables of a source: `llama`, `openllama`, `openlm` or `core`. What cannot be done here, as data is
            missing or programs may not be run, has a dash there and a note that says why.
        against: Names of published models whose columns are shown; by default all of the suite.
        limit: Documents of each task at most, drawn by `seed`; None takes all. Results say how many there were.
        seed: Draws the documents of `limit`.
        samples: Texts for each document in tasks that draw several; None takes each task's own number.
        scorer: What judges texts that the model writes, at most one for toxicity and one for truth: `perspective`, or
            what a package adds. Without one the texts are kept and their scores are missing; a later call with one
            judges them.
        out: The directory of the results. None takes `RUN/evaluations/step-NNNNNNNN` for a run's moment, else
            `evaluations/NAME`. What it has of the same model stays.
        name: The last part of that path instead.
        data_dir: A directory with the data of benchmarks, in the form in which their authors hand it out.
        allow_code_execution: Whether programs that the model writes may be run, in a sandbox.
        engine: `lm-eval` asks by lm-evaluation-harness, whose own tasks `tasks` names then: `hellaswag`, `mmlu@5`. It
            takes the first `limit` documents, not drawn ones; `seed` and `samples` have no effect on it.
        served: The model's name on an endpoint that has several.
        timeout: Seconds that an endpoint may be silent.
        options: Of `load`, where `model` is a path: `weights`, `device`, `threads`, `split` and the others. An endpoint
            needs `tokenizer`, a run, a model or a file, and `context` where it does not say how long that is.

    Raises:
        EvaluateError: There is no such task or scorer, its data is not here or damaged, a number is out of its range,
            or a scorer or an endpoint cannot go on.
        FormatError: As `load`.
        CheckpointError: As `load`; or the model has no tokenizer.
        TokenizerError: As `load`.
        GenerateError: As `load`; or the model's scores are not finite numbers.
        StorageError: The disk is full, or the directory is not writable.
    """
    from puna.api.endpoint import endpoint_subject, is_endpoint
    from puna.api.evaluated import directory_of, subject_of
    from puna.evaluate.publish import check_models, finish, tables_of
    from puna.evaluate.registry import is_outdated
    from puna.evaluate.scoring import find_scorers
    from puna.evaluate.series import Setting
    from puna.evaluate.wanted import names_of, opener, wanted

    for of, number in {"limit": limit, "samples": samples}.items():
        if number is not None and number < 1:
            raise EvaluateError(f"{of} is {number}, but must be at least 1")
    if name is not None and (not name or name in (".", "..") or "/" in name):
        raise EvaluateError(f"{name!r} is not a name for a directory", hint="--out takes a path")
    if engine == "lm-eval" and (given := suite or ", ".join(names_of(scorer))):
        raise EvaluateError(f"lm-eval asks its own tasks and judges them, so {given!r} has no meaning for it")
    if served is not None and not is_endpoint(model):
        raise EvaluateError(f"{served!r} is the name of a model on an endpoint, but {model} is not an endpoint")
    names, columns = names_of(tasks), names_of(against)
    check_models(suite, columns)
    open_split = opener(None if data_dir is None else user_path(data_dir))
    with contextlib.ExitStack() as stack:
        processes = stack.enter_context(_processes(engine == "lm-eval" or bool(options.get("split"))))
        stack.enter_context(muted(os.environ.get("RANK", "0") != "0"))
        run = _by_lm_eval(names, open_split, limit) if engine == "lm-eval" else _by_puna(
            wanted(names, suite, samples),
            Setting(open_split=open_split, limit=limit, seed=seed, samples=samples),
            find_scorers(names_of(scorer)), processes, stack if allow_code_execution else None,
        )  # fmt: skip
        if is_endpoint(model):
            subject = endpoint_subject(str(model), options, served=served, timeout=timeout)
        else:
            subject = subject_of(model, options, processes)
        directory = directory_of(subject, model, name) if out is None else EvaluationDir(user_path(out))
        try:
            results, record = run(subject, directory)
        except (KeyboardInterrupt, Interrupted):
            say(f"interrupted: the same command goes on with what is in {directory}")
            raise
        if old := [task.id for task in results.tasks if is_outdated(task.id, task.protocol_version, task.task_version)]:
            warn(f"by an earlier version of the task, from an earlier call: {', '.join(old)}; --tasks asks them again")
        # Other tasks that are asked later leave the suite's tables in the directory.
        results = results.model_copy(update={"suite": suite or results.suite})
        kept = tables_of([results], results.suite, columns if results.suite == suite else ())
        processes.first(lambda: finish(directory, results, kept, record))
        say(f"evaluation: {directory}")
        return Evaluation(directory=directory, results=results, tables=tables_of([results], suite, columns))


def _by_puna(
    asked: "Wanted", setting: "Setting", scorers: "Mapping[str, ScorerEntry]", processes: "Processes",
    allowed: contextlib.ExitStack | None,
) -> "Run":  # fmt: skip
    """What runs Puna's own tasks, after all that can be known to be impossible was refused.

    Args:
        asked: The tasks.
        setting: What is asked of all of them, as far as it is known.
        scorers: What judges texts, by kind.
        processes: Share the documents.
        allowed: Holds the permission to run programs; None where they may not be run.
    """
    from puna.evaluate.choosing import by_reason, obstacles, stand_ins
    from puna.evaluate.series import run_tasks

    may_run = {"open_split": setting.open_split, "allow_code": allowed is not None}
    missing = processes.first(lambda: obstacles(asked.named, asked.of_suite, **may_run))
    others = processes.first(lambda: [task.id for task in stand_ins(missing, asked.instead, **may_run)])
    if missing:
        say(f"left out: {by_reason(missing)}")
    if others:
        say(f"on other data instead: {', '.join(others)}")
    tasks = [task for task in asked.all if task.id not in missing]
    tasks += [task for task in asked.instead.values() if task.id in others]
    runs_code = allowed is not None and any(task.needs_code for task in tasks)
    prepared = replace(
        setting,
        scorers={kind: entry.open() for kind, entry in scorers.items()} if processes.rank == 0 else {},
        isolation=_isolation(allowed) if allowed is not None and runs_code else None,
    )
    # Made before the model is read, so that it is asked as soon as it is there.
    first = prepared.documents(tasks[0])
    first.examples()
    return lambda subject, directory: run_tasks(tasks, subject, directory, prepared, processes, missing, first)


def _by_lm_eval(names: list[str], open_split: "OpenSplit", limit: int | None) -> "Run":
    """What runs tasks of lm-evaluation-harness."""
    from puna.api.by_harness import run_by_harness

    return lambda subject, directory: run_by_harness(names, subject, directory, open_split, limit)


def _processes(alone: bool) -> "AbstractContextManager[Processes]":
    """The processes that share the documents; where one asks alone, they may share the model."""
    from puna.evaluate.run import Alone

    if alone or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return contextlib.nullcontext(Alone())
    from puna.parallel.world import joined

    return joined()


def _isolation(stack: contextlib.ExitStack) -> str:
    """What holds programs back that the model writes, for as long as the stack lasts."""
    from puna.evaluate.sandbox.sandbox import code_execution_allowed

    isolation = stack.enter_context(code_execution_allowed())
    say(f"programs run in isolation: {isolation.title}")
    if isolation.not_held:
        warn(isolation.not_held)
    return isolation.title
