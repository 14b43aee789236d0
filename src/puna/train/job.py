"""A run from its start to its end, whatever it learns from: its directory, its session, its steps, what it leaves.

A `Job` is what pre-training on token shards and tuning on examples do each in a way of their own; `carry_out` is what
both do alike. Every process of a run goes through all of this together; only the main one writes shared files and
prints messages.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

import torch

from puna.config.load import save_recipe
from puna.config.paths import beside
from puna.config.recipe import Recipe
from puna.core.console import say
from puna.core.errors import Interrupted, TrainError
from puna.core.files import discard, write_bytes
from puna.core.layout import RunDir
from puna.core.lock import DirectoryLock
from puna.core.records import Record, command_line, commit
from puna.core.schema.lines import SessionLine
from puna.core.schema.train_state import TrainState, list_checkpoints
from puna.core.version import VERSION
from puna.ops.attention import gpu_kernels
from puna.parallel.mesh import Mesh, build_mesh
from puna.parallel.world import World, joined
from puna.plan.batch import check_batch
from puna.tokenizer.tokenizer import Tokenizer
from puna.train import resume as resuming
from puna.train.announce import announce
from puna.train.branch import Branch
from puna.train.checkpoint import read_state
from puna.train.display import Display
from puna.train.extend import Extension
from puna.train.finish import finish
from puna.train.loop import run as run_steps
from puna.train.memory import explain_out_of_memory
from puna.train.metrics import Metrics
from puna.train.place import check_place
from puna.train.session import Listener, Session
from puna.train.validate import Validation

Evaluator: TypeAlias = Callable[[Session, Tokenizer], Listener]
"""Makes the listener that evaluates a session's model on benchmarks. Injected from above, because evaluation lies above
training."""

Found: TypeAlias = tuple[Path, TrainState] | None
"""The checkpoint that a run goes on from, and its state; None begins it."""


class Job(Protocol):
    """What a run learns from, in the order in which its parts are asked for."""

    recipe: Recipe
    """As the user gave it."""
    tokenizer: Tokenizer
    """The model's, from `look` on."""

    @property
    def final(self) -> Validation:
        """The last validation, on all that is held out, once the run has ended."""
        ...

    def look(self, run: RunDir, world: World) -> str:
        """Refuse what cannot be learned from before anything is written into the run's directory.

        Returns:
            The fingerprint of the data: equal ones mean equal batches.
        """
        ...

    def open(self, run: RunDir, world: World, *, aside: bool) -> Recipe:
        """Open the data, in the run's directory where they are put there.

        Args:
            run: The run's directory.
            world: The processes.
            aside: Whether another run is there, whose data must stay as they are until `moved`.

        Returns:
            The recipe with what follows from the data.
        """
        ...

    def moved(self, run: RunDir) -> None:
        """Take the data that were put aside from their place in the run, whose directory is now its own."""
        ...

    def session(self, recipe: Recipe, run: RunDir, world: World, mesh: Mesh, found: Found) -> Session:
        """The session of the run.

        Args:
            recipe: As `open` returns it.
            run: Where checkpoints go.
            world: The processes.
            mesh: The layout.
            found: The checkpoint to go on from.
        """
        ...

    def describe(self, run: RunDir) -> None:
        """Write what the run's data are; on the main process."""
        ...

    def listeners(self, session: Session) -> list[Listener]:
        """What validates the model and lets it write, in this order."""
        ...

    def save(self, session: Session, run: RunDir, inputs: dict[str, str]) -> dict[str, str]:
        """Leave the finished model, on all processes; returns the hashes of its files on the main one.

        Args:
            session: After its last step.
            run: Where the model goes.
            inputs: What it was made from.
        """
        ...


def carry_out(
    job: Job,
    run: RunDir,
    *,
    resume: bool,
    force: bool,
    evaluator: Evaluator | None = None,
    stop_at: int | None = None,
    start: Extension | Branch | None = None,
) -> None:
    """Train a model to the end of the run, and leave it in the run's directory.

    Args:
        job: What it learns from.
        run: Where checkpoints, metrics and the model go.
        resume: Go on from the newest checkpoint if there is one; nothing happens where the run is finished.
        force: Delete the content of the run's directory and start again; what is there goes only when nothing keeps the
            new run from its first step any more.
        evaluator: Makes what evaluates the model; None where the recipe asks for no task.
        stop_at: Save and leave after this step of the run; None trains to the end.
        start: Makes the run longer, or begins it at a moment of another one; the job's recipe is what comes of it.

    Raises:
        DataError: The data are missing or damaged, or of another tokenizer.
        CheckpointError: The directory holds another run, or its checkpoint is damaged.
        TrainError: The settings cannot work, memory ran out, or the loss stopped being finite.
        OtherProcessError: Another process has raised one of these.
        Interrupted: A signal came; the state is saved.
    """
    if resume and force:
        raise TrainError("--resume goes on with a run and --force deletes it; give one of them")
    began, given = time.perf_counter(), job.recipe
    with joined() as world, gpu_kernels(shapes_repeat=True), contextlib.ExitStack() as stack:
        world.first(lambda: check_batch(given, world.size))
        world.first(lambda: check_place(given, run, force=force))
        mesh = build_mesh(given.parallel, world)
        world.on_main(lambda: stack.enter_context(DirectoryLock(run.root)))
        # Before the data, which may have to be built.
        replaces = start is None and not resume and world.first(lambda: resuming.check_room(run, force=force))
        if replaces and world.main:
            stack.callback(discard, run.next_examples)  # where the new run does not begin
        fingerprint = job.look(run, world)
        longer = isinstance(start, Extension)
        if resume and not longer and world.first(lambda: resuming.is_finished(given, run, fingerprint)):
            if world.main:
                say(f"{run.root}: trained already")
            return
        if isinstance(start, Branch):
            world.first(lambda: start.check_tokenizer(job.tokenizer.sha256))
        path = None
        if not replaces:
            path = world.first(lambda: _make_room(given, run, fingerprint, resume=resume, force=force, start=start))
        found = None if path is None else (path, read_state(path, world))
        world.first(lambda: _check_found(given, run, fingerprint, found))
        recipe = job.open(run, world, aside=replaces)
        record = Record("train", config=beside(recipe.model_dump(exclude_none=True), run.root))
        record.inputs = {"data": fingerprint, "tokenizer": job.tokenizer.sha256}
        with explain_out_of_memory(recipe):
            session = job.session(recipe, run, world, mesh, found)
            session.clock.began = session.clock.saved = began
            # Only now: what does not begin leaves no run, and leaves the one that is there.
            if replaces:
                world.first(lambda: resuming.begin(run, force=True))
                job.moved(run)
            world.first(lambda: _describe(job, recipe, run))
            _begin(session, record, found)
            metrics = world.on_main(lambda: Metrics(run, session.state.step, recipe.metrics.wandb_project))
            if metrics is not None:
                session.listeners.append(stack.enter_context(metrics))
                _note_session(session, record)
            stack.enter_context(session)
            announce(session)
            if world.main:
                session.listeners.append(stack.enter_context(Display(recipe, session.state.step)))
            validator, *others = job.listeners(session)
            session.listeners.append(validator)
            if evaluator is not None:
                session.listeners.append(evaluator(session, job.tokenizer))
            session.listeners += others
            if not run_steps(session, stop_at):
                session.say(f"stopped at step {session.state.step} as asked; `--resume` goes on from here")
                return
            if session.state.initial_weights:
                record.inputs["initial_weights"] = session.state.initial_weights
            record.outputs = job.save(session, run, record.inputs)
            finish(session, run, record, job.final)
            if session.interrupt.signal is not None:
                raise Interrupted(session.interrupt.signal)


def _make_room(
    recipe: Recipe, run: RunDir, fingerprint: str, *, resume: bool, force: bool, start: Extension | Branch | None
) -> Path | None:
    """Begin a new run, or find the checkpoint to go on from."""
    if isinstance(start, Extension):
        start.apply(run, fingerprint)
    elif isinstance(start, Branch) and not (resume and list_checkpoints(run)):
        start.check()
        resuming.begin(run, force=force)
        start.apply(run, fingerprint)
    elif not resume:
        resuming.begin(run, force=force)
    path = resuming.newest(recipe, run)
    if resume and path is None:
        say(f"{run}: there is no checkpoint to resume from, so the run begins")
    return path


def _check_found(recipe: Recipe, run: RunDir, fingerprint: str, found: Found) -> None:
    """Refuse a checkpoint of another run."""
    if found is not None:
        path, state = found
        resuming.check_recipe(state.recipe, recipe, run, f"{path}: was saved")
        resuming.check_data(state.data_fingerprint, fingerprint, path, examples=recipe.finetune is not None)


def _describe(job: Job, recipe: Recipe, run: RunDir) -> None:
    """Write what the run is besides its states."""
    job.describe(run)
    save_recipe(recipe, run.config)
    write_bytes(run.tokenizer / job.tokenizer.file, job.tokenizer.content)


def _begin(session: Session, record: Record, found: Found) -> None:
    """Note the present circumstances in the state, and print where the run goes on from."""
    state, made_by = session.state, _circumstances(session.recipe, session.mesh, session.world)
    if found is not None and session.world.main:
        resuming.check_circumstances(state.made_by, made_by, found[0])
        say(f"resumed from {found[0]} at step {state.step}")
    state.recipe, state.made_by, state.sessions = record.config, made_by, state.sessions + 1
    state.data_fingerprint, state.tokenizer = record.inputs["data"], record.inputs["tokenizer"]


def _note_session(session: Session, record: Record) -> None:
    """Write down that a session began, and by which command."""
    session.record(
        SessionLine, command=command_line(), started=record.started, device=session.device.name,
        devices=session.world.size, puna=VERSION, commit=commit(),
    )  # fmt: skip


def _circumstances(recipe: Recipe, mesh: Mesh, world: World) -> dict[str, str]:
    """What the last bits of a step depend on besides the recipe's arithmetic."""
    return {
        "layout": mesh.describe(),
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()) if world.device.type == "cpu" else "",
        "device": torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu",
        "numerics": f"{recipe.train.precision}{', float8 products' if recipe.train.float8 else ''}, "
        f"{'compiled' if recipe.train.compile else 'eager'}",
    }
