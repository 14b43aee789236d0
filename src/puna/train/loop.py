"""Pre-training, top to bottom: prepare, step, log, validate, sample, save, finish.

The order of the data is a function of the step alone, so a resumed run needs nothing but its checkpoint, and ends with
the same bits as a run that nobody interrupted. Every process of a run walks through all of this together; only the
main one writes what they share and speaks to people.
"""

import contextlib
import math
import time
from pathlib import Path

import torch

from puna.config.load import save_recipe
from puna.config.recipe import Recipe
from puna.core.console import say
from puna.core.errors import EXIT_CODE, TrainError
from puna.core.files import write_json
from puna.core.layout import DataDir, RunDir
from puna.core.lock import DirectoryLock
from puna.core.records import Record
from puna.core.schema.train_state import TrainState, directory_of, list_checkpoints
from puna.data.card.card import read_card, with_mixture
from puna.ops.attention import gpu_kernels
from puna.parallel.apply import build_model, reshard
from puna.parallel.mesh import Mesh, build_mesh
from puna.parallel.objective import Objective
from puna.parallel.world import News, World, joined
from puna.plan.batch import check_batch
from puna.plan.count import flops_per_token
from puna.shards.loader import Loader
from puna.shards.shards import TokenShards
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer
from puna.train import resume as resuming
from puna.train.checkpoint import load_tensors, read_state
from puna.train.dashboard import printable
from puna.train.device import find_device
from puna.train.display import Display
from puna.train.finish import finish
from puna.train.interrupt import Interrupt
from puna.train.memory import explain_out_of_memory
from puna.train.metrics import Metrics, NoMetrics
from puna.train.optimizer import build_optimizer
from puna.train.saver import Saver
from puna.train.session import Clock, Sampler, Session, announce, can_sample, check_prompts, open_data
from puna.train.stability import Monitor
from puna.train.step import Outcome, train_step
from puna.train.validate import Validation, validate

_FAILED_SAVE = 1000
"""Above all signals' numbers."""


def train(
    recipe: Recipe,
    data: DataDir,
    run: RunDir,
    *,
    resume: bool,
    force: bool,
    sample: Sampler,
    stop_at: int | None = None,
) -> None:
    """Train the recipe's model on the data's shards and leave the plain model in the run's directory.

    Args:
        recipe: What to train.
        data: Where its token shards and tokenizer lie.
        run: Where checkpoints, metrics and the model go.
        resume: Go on from the newest checkpoint if there is one; nothing happens where the run is finished.
        force: Delete what the run's directory holds and start again.
        sample: Continues a prompt.
        stop_at: Save and leave after so many steps of the run; None trains to the end.

    Raises:
        DataError: Shards are missing or damaged, or of another tokenizer.
        CheckpointError: The directory holds another run, or its checkpoint is damaged.
        TrainError: The settings cannot work, memory ran out, or the loss stopped being finite.
        SystemExit: A signal came; the state is saved.
    """
    if resume and force:
        raise TrainError("--resume goes on with a run and --force deletes it; give one of them")
    began = time.perf_counter()
    with joined() as world, gpu_kernels(shapes_repeat=True), contextlib.ExitStack() as stack:
        world.first(lambda: check_batch(recipe, world.size))
        mesh = build_mesh(recipe.parallel, world)
        world.first(lambda: stack.enter_context(DirectoryLock(run.root)) and None)
        tokenizer = load_tokenizer(data.tokenizer)
        world.first(lambda: check_prompts(recipe, tokenizer))
        # The main process has looked at every file before the others open them.
        fingerprint = world.first(lambda: open_data(recipe, data, tokenizer, verify=True)[0].fingerprint)
        if resume and world.first(lambda: resuming.is_finished(recipe, run, fingerprint)):
            if world.main:
                say(f"{run.root}: trained already")
            return
        path = world.first(lambda: _make_room(recipe, run, resume=resume, force=force))
        found = None if path is None else read_state(path, world)
        world.first(lambda: _make_ready(recipe, data, run, fingerprint, path, found))
        loader, heldout = open_data(recipe, data, tokenizer, verify=False)
        record = Record("train", config=recipe.model_dump(exclude_none=True))
        record.inputs = {"data": fingerprint, "tokenizer": tokenizer.sha256}
        with explain_out_of_memory(recipe):
            _train(stack, began, record, found, recipe, run, world, mesh, tokenizer, loader, heldout, sample, stop_at)


def _make_room(recipe: Recipe, run: RunDir, *, resume: bool, force: bool) -> Path | None:
    """Begin a new run, or find the checkpoint to go on from."""
    if not resume:
        resuming.begin(run, force=force)
    return resuming.newest(recipe, run)


def _make_ready(
    recipe: Recipe, data: DataDir, run: RunDir, fingerprint: str, path: Path | None, found: TrainState | None
) -> None:
    """Refuse a checkpoint of another run; then write what describes this one."""
    if path is not None and found is not None:
        resuming.check_recipe(found.recipe, recipe, run, str(path))
        resuming.check_data(found.data_fingerprint, fingerprint, path)
    card = with_mixture(read_card(data), recipe)
    save_recipe(recipe, run.config)
    write_json(run.data_card, card)


def _train(
    stack: contextlib.ExitStack,
    began: float,
    record: Record,
    found: TrainState | None,
    recipe: Recipe,
    run: RunDir,
    world: World,
    mesh: Mesh,
    tokenizer: Tokenizer,
    loader: Loader,
    heldout: dict[str, TokenShards],
    sample: Sampler,
    stop_at: int | None,
) -> None:
    """Build what the steps need, take them, and finish."""
    device = find_device(recipe.train.precision, recipe.energy, world.device)
    model = build_model(recipe, mesh, world.device)
    optimizer = build_optimizer(
        model, recipe.optim, recipe.train.precision, recipe.seed, compiled=recipe.train.compile and device.on_gpu
    )
    objective = Objective.of(recipe, model, mesh, tokenizer.bos_id)
    state = found or TrainState(data_fingerprint=loader.fingerprint)
    made_by = _circumstances(recipe, mesh, world)
    if found:
        path = directory_of(run, found.step)
        load_tensors(path, model, optimizer, world)
        if world.main:
            resuming.check_circumstances(found.made_by, made_by, path)
            say(f"resumed from {path} at step {found.step}")
    state.recipe, state.made_by, state.sessions = record.config, made_by, state.sessions + 1
    opened: list[Metrics | NoMetrics] = [NoMetrics()]
    world.first(lambda: opened.append(Metrics(run, state.step, recipe.metrics.wandb_project)))
    metrics = stack.enter_context(opened[-1])
    saver = stack.enter_context(Saver(run, recipe.checkpoint, world))
    monitor = Monitor(recipe.stability, state.history, state.consecutive)
    interrupt = stack.enter_context(Interrupt())
    session = Session(
        recipe, run, world, mesh, device, tokenizer, loader, heldout, model, objective, optimizer, state, monitor,
        metrics, None, saver, sample,
    )  # fmt: skip
    session.clock = Clock(began, began, first_step=state.step)
    announce(session)
    last = min(recipe.total_steps, stop_at or recipe.total_steps)
    if world.main:
        session.display = stack.enter_context(Display(recipe, state.step))
    news = News(world)
    while state.step < last:
        _run_steps(session, interrupt, news, last)
    if last < recipe.total_steps:
        saver.wait()
        session.say(f"stopped at step {state.step} as asked; `--resume` goes on from here")
        return
    final = _validate(session, final=True)
    _sample(session)
    saver.wait()
    finish(session, record, final)
    if interrupt.signal is not None:
        raise SystemExit(interrupt.exit_code)


def _circumstances(recipe: Recipe, mesh: Mesh, world: World) -> dict[str, str]:
    """What decides the last bits of a step besides the recipe's arithmetic."""
    return {
        "layout": mesh.describe(),
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()) if world.device.type == "cpu" else "",
        "device": torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu",
        "numerics": f"{recipe.train.precision}{', float8 products' if recipe.train.float8 else ''}, "
        f"{'compiled' if recipe.train.compile else 'eager'}",
    }


def _run_steps(session: Session, interrupt: Interrupt, news: News, last: int) -> None:
    """Steps until the last one, or until a rollback changes which batches are next."""
    with session.batches() as batches:
        waited = 0.0
        while session.state.step < last:
            outcome = train_step(session, iter(batches))
            session.clock.waited += batches.waited - waited
            waited = batches.waited
            if not outcome.verdict.fine and _left_out(session, outcome):
                return
            _after_step(session, outcome, interrupt, news, last)


def _after_step(session: Session, outcome: Outcome, interrupt: Interrupt, news: News, last: int) -> None:
    """Whatever is due after a step: look, log, validate, sample, save."""
    recipe, state = session.recipe, session.state
    done, stopping = state.step == recipe.total_steps, state.step == last
    # What any process had to tell a step ago: a checkpoint that failed, or a signal. The last step waits to hear it.
    told = news.hear(_FAILED_SAVE if session.saver.failed else interrupt.signal or 0, at_once=stopping)
    if told == _FAILED_SAVE:
        session.saver.wait()
        raise SystemExit(EXIT_CODE)
    stopped_by = told
    saves = stopping or state.step % recipe.checkpoint.every_steps == 0 or stopped_by
    logs = state.step % recipe.train.log_every == 0 or stopping or stopped_by
    if (logs or saves) and outcome.verdict.fine:
        session.settle()
        session.agreed(lambda: _check_finite(session, outcome))
    if logs and outcome.verdict.fine:
        _log(session, outcome)
    if session.display is not None:
        session.display.advance()
    if not done and state.step % recipe.validation.every_steps == 0:
        _validate(session, final=False)
    if not done and state.step % recipe.samples.every_steps == 0:
        _sample(session)
    if saves:
        _save(session)
    if stopped_by:
        session.saver.wait()
        session.say(f"saved step {state.step}; `--resume` goes on from here")
        raise SystemExit(128 + stopped_by)


def _check_finite(session: Session, outcome: Outcome) -> None:
    """Stop before a checkpoint holds what no step can mend."""
    loss, norm = outcome.loss.item(), outcome.norm.item()
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise TrainError(
            f"step {session.state.step}: the loss is {loss} and the gradient's norm {norm}",
            hint="--resume with stability.action=skip leaves such batches out; or start again with a lower optim.lr",
        )


def _left_out(session: Session, outcome: Outcome) -> bool:
    """Record a batch that was left out; whether the run went back to a checkpoint because of it."""
    state, recipe = session.state, session.recipe
    state.skipped += 1
    number = state.batch_number(state.step - 1)
    session.metrics.write(
        "skipped", state.step, session.tokens, reason=outcome.verdict.sentence, first_sequence=number * session.rows,
        sequences=session.rows, loss=_finite(outcome.loss.item()), grad_norm=_finite(outcome.norm.item()),
    )  # fmt: skip
    if session.display is not None:
        session.display.event(f"step {state.step}: batch left out: {outcome.verdict.sentence}")
    session.saver.wait()
    checkpoints = session.world.first(lambda: list_checkpoints(session.run))
    if recipe.stability.action != "rollback" or not checkpoints:
        return False
    _roll_back(session, outcome, checkpoints[-1][0])
    return True


def _roll_back(session: Session, outcome: Outcome, to_step: int) -> None:
    """Return to a checkpoint; the batches from there to here are passed over."""
    run, state, world = session.run, session.state, session.world
    path, from_step, reason = directory_of(run, to_step), state.step, outcome.verdict.sentence
    bad_batch = state.batch_number(from_step - 1)
    saved = world.first(lambda: read_state(path))
    load_tensors(path, session.model, session.optimizer, world)
    passed_over = state.batch_number(from_step - 1) + 1 - saved.batch_number(to_step)
    state.step, state.shifts = to_step, [*saved.shifts, (to_step, passed_over)]
    consecutive = session.monitor.consecutive
    session.monitor = Monitor(session.recipe.stability, saved.history, consecutive)
    session.source_sums = None
    session.metrics.rewind(to_step)
    session.metrics.write(
        "rollback", to_step, session.tokens, from_step=from_step, to_step=to_step, batches=passed_over, reason=reason,
        first_sequence=bad_batch * session.rows, sequences=session.rows, loss=_finite(outcome.loss.item()),
        grad_norm=_finite(outcome.norm.item()),
    )  # fmt: skip
    if session.display is not None:
        session.display.event(f"back from step {from_step} to {to_step}: {reason}")


def _finite(value: float) -> float | str:
    """A number that JSON can hold, or its name."""
    return value if math.isfinite(value) else str(value)


def _log(session: Session, outcome: Outcome) -> None:
    recipe, state, clock = session.recipe, session.state, session.clock
    session.settle()
    tokens = clock.n_steps * recipe.train.batch_tokens
    rate = tokens / clock.steps
    now = time.perf_counter()
    overall = (state.step - clock.first_step) * recipe.train.batch_tokens / (now - clock.began)
    flops = flops_per_token(recipe.model, recipe.model.context)
    peak = session.device.peak_flops * session.world.size
    memory = session.world.largest(session.device.peak_memory_bytes())
    state.peak_memory_bytes = max(state.peak_memory_bytes, memory)
    counts, names = session.sequences_by_source(), session.loader.names
    nats_S, rows_S = ([] if session.source_sums is None else session.source_sums.tolist()) or ([], [])
    context = recipe.model.context
    line = {
        "loss": outcome.loss.item(),
        "lr": outcome.lr,
        "grad_norm": outcome.norm.item(),
        "tokens_per_second": rate,
        "tokens_per_second_overall": overall,
        "mfu": {name: flops[name] * rate / peak for name in ("causal", "full")},
        "data_wait": clock.waited / clock.steps,
        "memory_bytes": memory,
        "seconds": state.train_seconds,
        "source_loss": {
            name: nats / (rows * context) for name, nats, rows in zip(names, nats_S, rows_S, strict=False) if rows
        },
        "source_tokens": {name: count * context for name, count in counts.items()},
        "epochs": session.epochs_by_source(),
    }
    session.metrics.write("train", state.step, session.tokens, **line)
    if session.display is not None:
        session.display.log({"step": state.step, "tokens": session.tokens, **line})
    clock.steps = clock.waited = 0.0
    clock.n_steps, session.source_sums = 0, None


def _validate(session: Session, *, final: bool) -> Validation:
    session.settle()
    recipe, started = session.recipe, time.perf_counter()
    result = validate(
        session.objective,
        session.heldout,
        [len(text) for text in session.tokenizer.token_bytes()],
        session.world,
        max_tokens=None if final else recipe.validation.tokens,
        micro_batch_tokens=recipe.train.micro_batch_tokens,
        space_prefix=session.tokenizer.space_prefix,
    )
    seconds = time.perf_counter() - started
    line = {"final": final, "loss": result.loss, "bits_per_byte": result.bits_per_byte, "seconds": seconds}
    session.metrics.write("validation", session.state.step, session.tokens, **line)
    if session.display is not None:
        session.display.validated({"step": session.state.step, **line})
    figures = ", ".join(f"{source} {bits:.3f}" for source, bits in result.bits_per_byte.items())
    session.say(f"step {session.state.step}: bits per byte of held-out text: {figures}")
    return result


def _sample(session: Session) -> None:
    if not can_sample(session):
        return
    session.settle()
    step = session.state.step
    for prompt in session.recipe.samples.prompts:
        with torch.compiler.set_stance("force_eager"), gpu_kernels(shapes_repeat=False), session.objective.passes():
            text = session.sample(session.model, session.tokenizer, prompt, session.recipe.seed)
        session.metrics.write("sample", step, session.tokens, prompt=prompt, text=text)
        if session.display is not None:
            session.display.sampled({"step": step, "prompt": prompt, "text": text})
        session.say(f"step {step}: " + printable(f"{prompt}|{text}"))
    reshard(session.model)


def _save(session: Session) -> None:
    session.settle()
    state, clock = session.state, session.clock
    now = time.perf_counter()
    state.wall_seconds += now - clock.saved
    clock.saved = now
    state.history, state.consecutive = session.monitor.history, session.monitor.consecutive
    seconds = session.saver.save(state, session.model, session.optimizer)
    asynchronous = session.recipe.checkpoint.asynchronous
    session.metrics.write("checkpoint", state.step, session.tokens, seconds=seconds, asynchronous=asynchronous)
    if session.display is not None:
        session.display.event(f"step {state.step}: checkpoint, training stood still for {seconds:.2f} s")
