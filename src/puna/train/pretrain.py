"""Pre-training, top to bottom: prepare the run's directory, open a session, take its steps, leave the plain model.

Every process of a run goes through all of this together; only the main one writes shared files and prints messages.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import torch

from puna.config.load import save_recipe
from puna.config.paths import beside
from puna.config.recipe import Recipe
from puna.core.console import say, warn
from puna.core.errors import Interrupted, TrainError
from puna.core.files import write_bytes, write_json
from puna.core.layout import DataDir, RunDir
from puna.core.lock import DirectoryLock
from puna.core.records import Record, command_line, commit
from puna.core.schema.lines import SessionLine
from puna.core.schema.train_state import TrainState, list_checkpoints
from puna.core.units import counted, format_count
from puna.core.version import VERSION
from puna.ops.attention import attention_backend, gpu_kernels
from puna.parallel.mesh import Mesh, build_mesh
from puna.parallel.world import World, joined
from puna.plan.batch import check_batch
from puna.plan.count import parameters
from puna.shards.card import card_json, read_card, repeated, with_mixture
from puna.shards.loader import Loader
from puna.shards.shards import TokenShards
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer
from puna.train import resume as resuming
from puna.train.branch import Branch
from puna.train.checkpoint import read_state
from puna.train.display import Display
from puna.train.extend import Extension
from puna.train.feed import TokenFeed
from puna.train.finish import finish
from puna.train.initial import OtherFormat
from puna.train.loop import run as run_steps
from puna.train.memory import explain_out_of_memory
from puna.train.metrics import Metrics
from puna.train.optimizer import describe_groups
from puna.train.place import check_place
from puna.train.samples import Sampler, Samples, can_sample, check_prompts
from puna.train.session import Listener, Session
from puna.train.validate import Validator

Evaluator: TypeAlias = Callable[[Session, Tokenizer], Listener]
"""Makes the listener that evaluates a session's model on benchmarks. Injected from above, because evaluation lies above
training."""

_MOST_BF16_PASSES = 32
"""The sum of this many gradients in bfloat16 is off by less than 0.4 %, its rounding; the sum of 256 by 2 %."""


def train(
    recipe: Recipe,
    data: DataDir,
    run: RunDir,
    *,
    resume: bool,
    force: bool,
    sample: Sampler,
    evaluator: Evaluator | None = None,
    stop_at: int | None = None,
    start: Extension | Branch | None = None,
    weights: OtherFormat | None = None,
) -> None:
    """Train the recipe's model on the data's shards and leave the plain model in the run's directory.

    Args:
        recipe: What to train.
        data: The directory of its token shards and tokenizer.
        run: Where checkpoints, metrics and the model go.
        resume: Go on from the newest checkpoint if there is one; nothing happens where the run is finished.
        force: Delete the content of the run's directory and start again.
        sample: Writes the model's continuation of a prompt.
        evaluator: Makes what evaluates the model; None where the recipe asks for no task.
        stop_at: Save and leave after this step of the run; None trains to the end.
        start: Makes the run longer, or begins it at a moment of another one; `recipe` is what comes of it.
        weights: What `train.init_from` names, opened, where it is in another format than Puna's own.

    Raises:
        DataError: Shards are missing or damaged, or of another tokenizer.
        CheckpointError: The directory holds another run, or its checkpoint is damaged.
        TrainError: The settings cannot work, memory ran out, or the loss stopped being finite.
        OtherProcessError: Another process has raised one of these.
        Interrupted: A signal came; the state is saved.
    """
    if resume and force:
        raise TrainError("--resume goes on with a run and --force deletes it; give one of them")
    began = time.perf_counter()
    with joined() as world, gpu_kernels(shapes_repeat=True), contextlib.ExitStack() as stack:
        world.first(lambda: check_batch(recipe, world.size))
        world.first(lambda: check_place(recipe, run))
        mesh = build_mesh(recipe.parallel, world)
        world.on_main(lambda: stack.enter_context(DirectoryLock(run.root)))
        tokenizer = load_tokenizer(data.tokenizer)
        world.first(lambda: check_prompts(recipe, tokenizer))
        # The main process has looked at every file before the others open them.
        fingerprint = world.first(lambda: open_data(recipe, data, tokenizer, verify=True)[0].fingerprint)
        longer = isinstance(start, Extension)
        if resume and not longer and world.first(lambda: resuming.is_finished(recipe, run, fingerprint)):
            if world.main:
                say(f"{run.root}: trained already")
            return
        if isinstance(start, Branch):
            world.first(lambda: start.check_tokenizer(tokenizer.sha256))
        path = world.first(lambda: _make_room(recipe, run, fingerprint, resume=resume, force=force, start=start))
        found = None if path is None else (path, read_state(path, world))
        world.first(lambda: _check_found(recipe, run, fingerprint, found))
        loader, heldout = open_data(recipe, data, tokenizer, verify=False)
        record = Record("train", config=beside(recipe.model_dump(exclude_none=True), run.root))
        record.inputs = {"data": fingerprint, "tokenizer": tokenizer.sha256}
        with explain_out_of_memory(recipe):
            session = Session.open(
                recipe, world, TokenFeed(loader, recipe), run=run, checkpoint=found, mesh=mesh, weights=weights
            )
            session.clock.began = session.clock.saved = began
            # Only now: what does not begin leaves no run.
            world.first(lambda: _describe(recipe, data, run, tokenizer))
            _begin(session, record, found)
            metrics = world.on_main(lambda: Metrics(run, session.state.step, recipe.metrics.wandb_project))
            if metrics is not None:
                session.listeners.append(stack.enter_context(metrics))
                _note_session(session, record)
            stack.enter_context(session)
            announce(session)
            if world.main:
                session.listeners.append(stack.enter_context(Display(recipe, session.state.step)))
            validator = Validator(heldout, tokenizer, recipe)
            session.listeners.append(validator)
            if evaluator is not None:
                session.listeners.append(evaluator(session, tokenizer))
            session.listeners.append(Samples(recipe.samples, tokenizer, recipe.seed, sample))
            if not run_steps(session, stop_at):
                session.say(f"stopped at step {session.state.step} as asked; `--resume` goes on from here")
                return
            if session.state.initial_weights:
                record.inputs["initial_weights"] = session.state.initial_weights
            finish(session, run, tokenizer, record, validator.final)
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


def _check_found(recipe: Recipe, run: RunDir, fingerprint: str, found: tuple[Path, TrainState] | None) -> None:
    """Refuse a checkpoint of another run."""
    if found is not None:
        path, state = found
        resuming.check_recipe(state.recipe, recipe, run, f"{path}: was saved")
        resuming.check_data(state.data_fingerprint, fingerprint, path)


def _describe(recipe: Recipe, data: DataDir, run: RunDir, tokenizer: Tokenizer) -> None:
    """Write what the run is besides its states."""
    card = with_mixture(read_card(data), recipe)
    for sentence in repeated(card):
        warn(sentence)
    save_recipe(recipe, run.config)
    write_json(run.data_card, card_json(card))
    write_bytes(run.tokenizer / tokenizer.file, tokenizer.content)


def _begin(session: Session, record: Record, found: tuple[Path, TrainState] | None) -> None:
    """Note the present circumstances in the state, and print where the run goes on from."""
    state, made_by = session.state, _circumstances(session.recipe, session.mesh, session.world)
    if found is not None and session.world.main:
        resuming.check_circumstances(state.made_by, made_by, found[0])
        say(f"resumed from {found[0]} at step {state.step}")
    state.recipe, state.made_by, state.sessions = record.config, made_by, state.sessions + 1
    state.tokenizer = record.inputs["tokenizer"]


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


def open_data(
    recipe: Recipe, data: DataDir, tokenizer: Tokenizer, *, verify: bool
) -> tuple[Loader, dict[str, TokenShards]]:
    """The training sequences and the held-out shards.

    Args:
        recipe: What to train.
        data: The directory of its shards.
        tokenizer: The one that they were written with.
        verify: Whether to compare every file with its hash; its size is always compared.

    Raises:
        DataError: Shards are missing, damaged, of another tokenizer, or too few for the epochs that are allowed.
        TrainError: The tokenizer is of another size than the model.
    """
    # A model that goes on with its own tokenizer may have more rows than that has tokens.
    padded = recipe.tokenizer.taken_from is not None and tokenizer.vocab_size < recipe.model.vocab_size
    if tokenizer.vocab_size != recipe.model.vocab_size and not padded:
        raise TrainError(
            f"{data.tokenizer}: has {tokenizer.vocab_size} tokens, but model.vocab_size = {recipe.model.vocab_size}"
        )

    def open_split(split: str) -> dict[str, TokenShards]:
        return {
            source: TokenShards.open(data.shards / source / split, tokenizer_sha256=tokenizer.sha256, verify=verify)
            for source in recipe.mixture
        }

    loader = Loader(open_split("train"), recipe)
    loader.check_epochs(recipe.total_tokens // recipe.model.context, recipe.max_epochs)
    return loader, open_split("heldout")


def announce(session: Session) -> None:
    """Say what is about to be trained, and how."""
    recipe, device, train = session.recipe, session.device, session.recipe.train
    left = train.tokens - recipe.total_tokens
    session.say(
        f"{recipe.name}: {format_count(parameters(recipe.model).total)} parameters, "
        f"{format_count(recipe.total_tokens)} tokens in {recipe.total_steps} steps of {train.batch_tokens} tokens, "
        f"{train.precision}{' with float8 products' if train.float8 else ''}"
    )
    if left:
        session.say(f"train.tokens = {train.tokens}: the last {left} do not fill a batch and are left out")
    session.say(f"{device.name}: {device.peak_flops / 1e9:.0f} GFLOP/s at best ({device.peak_source})")
    session.say(
        f"{session.mesh.describe()}; {counted(session.passes, 'pass', 'passes')} of {train.micro_batch_tokens} tokens "
        f"per device and step; recompute {train.recompute}, {'compiled' if train.compile else 'eager'}"
    )
    dtype = torch.float32 if train.precision == "fp32" else torch.bfloat16
    kind = session.world.device.type
    # A device that shares its sequences works on two parts of each, whose queries come after other devices' keys.
    parts = 2 * session.mesh.context if session.mesh.context > 1 else 1
    masked = train.document_mask or (parts > 1 and train.compile)
    name, reason = attention_backend(kind, dtype, recipe.model.context // parts, masked)
    session.say(f"attention: {name} ({reason})")
    for line in describe_groups(session.model, session.optimizer):
        session.say(line)
    if train.precision == "bf16-stochastic" and session.passes > _MOST_BF16_PASSES and session.world.main:
        warn(
            f"gradients of {session.passes} passes per step are added up in bfloat16, which loses small ones; raise "
            "train.micro_batch_tokens, use more devices, or train.precision = 'bf16'"
        )
    if recipe.samples.prompts and not can_sample(session.mesh) and session.world.main:
        warn("no samples are written while parallel.tensor or parallel.context is above 1; `puna generate` will write")
