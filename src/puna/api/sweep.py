"""Sweeps: runs of one recipe with other values, over one data build, one after the other, and their comparison.

Every run is a process of its own that does what `puna train` does with the same words, so it has the same bits as
alone, its memory is free again when it ends, and nothing that ends it ends the others.
"""

import contextlib
import itertools
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from puna.api.compare import compare
from puna.api.recipes import PathLike, data_source, recipe, run_dir
from puna.core.console import say, warn
from puna.core.errors import CheckpointError, ConfigError, Interrupted, TrainError
from puna.core.layout import RunDir
from puna.core.packages import missing_package
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.config.grid import Point
    from puna.report.comparison import Comparison


@dataclass(frozen=True)
class TrainingSweep:
    """The runs of a sweep."""

    runs: list[RunDir]
    """In the order of the values, the last key's changing fastest."""
    failed: list[RunDir]
    """Those that ended with an error, which they have printed."""
    comparison: "Comparison | None"
    """None where fewer than two runs have begun."""
    page: Path | None
    """The comparison as a page; None where there is none."""


def sweep(
    name_or_path: PathLike,
    several: Mapping[str, Sequence[Any]],
    *,
    overrides: Sequence[str] = (),
    data: PathLike | None = None,
    run: PathLike | None = None,
    init_from: PathLike | None = None,
    resume: bool = False,
    force: bool = False,
    stop_at: int | None = None,
) -> TrainingSweep:
    """Pre-train a recipe with every combination of some values, one run after the other, and compare the runs.

    A run that ends with an error does not end the others. Ctrl-C, SIGTERM and SIGHUP save the run that is at work and
    end the sweep; `resume=True` goes on with all of it: finished runs stay, others go on or begin.

    Args:
        name_or_path: The name of a shipped recipe or a path that ends in `.toml`.
        several: The values by key: `{"optim.lr": [1e-3, 2e-3]}`; several keys make all combinations. No key of the data
            or the tokenizer, because all runs read one build.
        overrides: Values to change in all runs, as on the command line.
        data: The data build; None is `data/` and the recipe's name.
        run: What the runs' directories begin with, to which `-lr=1e-3` is added; None is `runs/` and the recipe's name.
        init_from: The model that all runs begin with, as `puna.train` takes it.
        resume: Go on with the runs that are there.
        force: Delete the runs that are there and start again.
        stop_at: Save and end each run after this many steps.

    Returns:
        The runs, which of them failed, and the comparison, which is also a page beside the runs.

    Raises:
        ConfigError: There is no such recipe, problems in a value, or two combinations that are the same.
        DataError: The data build is missing, damaged, or was made with other values.
        CheckpointError: A run is there already, and neither `resume` nor `force` is true.
        TrainError: Arguments contradict each other, or torchrun has started this process.
        Interrupted: A signal came, and the state is saved; not a `UserError`, like `KeyboardInterrupt`.
        StorageError: The disk is full or not writable.
    """
    from puna.report.read_compared import can_be_compared

    if resume and force:
        raise TrainError("--resume goes on with runs and --force deletes them; give one of them")
    planned, page = _plan(name_or_path, several, overrides, data, run, init_from, stop_at)
    began = [one for one in planned if _has_begun(one)]
    if began and not (resume or force):
        raise CheckpointError(
            f"{began[0]}: holds a run already",
            hint="--resume goes on with all of the sweep, --force deletes its runs and starts again",
        )
    counts = " x ".join(
        f"{key} ({len(values)} value{'s' if len(values) != 1 else ''})" for key, values in several.items()
    )
    say(f"{len(planned)} runs, one after the other: {counts}")
    failed: dict[RunDir, str] = {}
    for number, (one, command) in enumerate(planned.items(), 1):
        say(f"run {number} of {len(planned)}: {one}")
        how = ["--force"] if force else ["--resume"] if one in began else []
        code = _train([sys.executable, "-m", "puna", *command, *how])
        if code:
            failed[one] = f"signal {-code}" if code < 0 else f"exit code {code}"
            warn(f"{one}: ended with {failed[one]}; {_others(len(planned) - number)}")
    readable = [one for one in planned if can_be_compared(one)]
    if len(readable) < 2:
        return TrainingSweep(list(planned), list(failed), None, None)
    comparison = compare(readable)
    why = [
        f"{run.name} ended with an error ({failed[one]}), which it has printed."
        for one, run in zip(readable, comparison.runs, strict=True)
        if one in failed
    ]
    comparison = replace(comparison, notes=[*why, *comparison.notes])
    return TrainingSweep(list(planned), list(failed), comparison, page if _written(comparison, page) else None)


def _plan(
    name: PathLike,
    several: Mapping[str, Sequence[Any]],
    overrides: Sequence[str],
    data: PathLike | None,
    run: PathLike | None,
    init_from: PathLike | None,
    stop_at: int | None,
) -> tuple[dict[RunDir, list[str]], Path]:
    """The words of each run's command, and the path of the page; nothing is written, and what is wrong is said."""
    from puna.api.stages import check_build
    from puna.config.grid import points
    from puna.report.compare_page import check_page

    combinations = points(several)
    recipes = [recipe(name, [*overrides, *point.overrides]) for point in combinations]
    _refuse_equals(combinations, recipes)
    check_build(recipes[0], data_source(data, recipes[0]))
    stem = run_dir(run, recipes[0]).root
    if not stem.name:
        hint = "give a path with a name, such as --run-dir runs/demo"
        raise TrainError(f"--run-dir {stem}: is not what names of runs can begin with", hint=hint)
    page = stem.with_name(f"{stem.name}-{'-'.join(key.rpartition('.')[2] for key in several)}.html")
    check_page(page)
    planned = {}
    for point in combinations:
        directory = RunDir(user_path(stem.with_name(f"{stem.name}-{point.name}")))
        options = {"--run-dir": directory, "--data-dir": data, "--init-from": init_from, "--stop-at": stop_at}
        words = [[option, str(value)] for option, value in options.items() if value is not None]
        named = ["train", os.fspath(name), *overrides, *point.overrides]
        planned[directory] = [*named, *itertools.chain.from_iterable(words)]
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        first = shlex.join(next(iter(planned.values())))
        raise TrainError(
            "a sweep starts its runs one after the other, which the processes of torchrun cannot do",
            hint=f"start each run by itself, the first by `torchrun … -m puna {first}`",
        )
    return planned, page


def _refuse_equals(combinations: "list[Point]", recipes: list[Any]) -> None:
    for number, one in enumerate(recipes):
        for other in range(number):
            if recipes[other] == one:
                names = combinations[other].name, combinations[number].name
                raise ConfigError([f"{names[0]} and {names[1]} are the same run"])


def _written(comparison: "Comparison", page: Path) -> bool:
    """Write the page, if the packages that it needs are installed: the figures do not need them."""
    from puna.report.compare_page import write_comparison

    try:
        write_comparison(comparison, page)
    except ModuleNotFoundError as error:
        if (sentence := missing_package(error)) is None:
            raise
        warn(f"{page}: is not written: {sentence.message}")
        return False
    say(f"comparison: {page}")
    return True


def _has_begun(run: RunDir) -> bool:
    return any(path.exists() for path in (run.config, run.record, run.metrics, run.checkpoints, run.model))


def _others(left: int) -> str:
    return "it was the last one" if not left else f"{left} more {'follows' if left == 1 else 'follow'}"


def _train(command: list[str]) -> int:
    """Train one run in a process of its own.

    Returns:
        Its exit code, or the negative number of the signal that ended it.

    Raises:
        Interrupted: This process got a signal, and the run has saved its state.
    """
    with _passed_on() as signals:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        signals.started(process)
        code = process.wait()
    if signals.number is not None:
        raise Interrupted(signals.number)
    return code


class _Signals:
    """Hands the first signal on as SIGTERM, upon which a run saves its state.

    A terminal sends Ctrl-C to both processes. The run keeps the first of all signals that it gets, and would take
    another SIGINT, but not a SIGTERM, as the wish to leave without saving.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        """The first signal that came; None if there was none."""
        self._process: subprocess.Popen[bytes] | None = None

    def started(self, process: "subprocess.Popen[bytes]") -> None:
        """From now on signals go to this process; so does one that has come already."""
        self._process = process
        if self.number is not None:
            process.send_signal(signal.SIGTERM)

    def handle(self, number: int, frame: Any) -> None:
        """Remember the first signal, and hand it on."""
        if self.number is None:
            self.number = number
            if self._process is not None:
                self._process.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def _passed_on() -> Iterator[_Signals]:
    """While entered, signals that ask for the end go to the run; only the main thread can get them."""
    signals = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, signals.handle) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
