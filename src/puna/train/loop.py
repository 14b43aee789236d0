"""The steps of a session, and everything that is due after each: check, log, notify, save, go back.

The order of the data is a function of the step alone, so a resumed run needs only its checkpoint, and ends with the
same bits as a run without a break.
"""

import contextlib
import math
import time
from pathlib import Path

from puna.core.errors import Interrupted, OtherProcessError
from puna.core.schema.lines import CheckpointLine, RollbackLine, SkippedLine, TrainLine
from puna.core.schema.part import Number
from puna.core.schema.train_state import list_checkpoints
from puna.parallel.world import News
from puna.train.checkpoint import load_tensors, read_state
from puna.train.feed import check_epochs
from puna.train.saver import Saver
from puna.train.session import Outcome, Session
from puna.train.stability import Monitor


def run(session: Session, until: int | None = None) -> bool:
    """Take the session's steps; after the last one of the run, its listeners are notified of the end.

    Args:
        session: Entered as a context.
        until: Save and leave after this step of the run; None or a later step takes all of them.

    Returns:
        Whether all steps of the run are done.

    Raises:
        TrainError: The loss stopped being finite, or too many batches were not fit to learn from.
        StorageError: A checkpoint could not be written.
        OtherProcessError: Another process has raised one of these.
        Interrupted: A signal came; the state is saved, where there was a step since the last checkpoint.
    """
    total = session.recipe.total_steps
    last = min(total, until or total)
    news = News(session.world)
    _look_at_first(session)
    while session.state.step < last:
        _steps(session, news, last)
    if last < total:
        if session.saver is not None:
            session.saver.wait()
        return False
    for listener in session.listeners:
        listener.ended(session)
    if session.saver is not None:
        session.saver.wait()
    return True


def _look_at_first(session: Session) -> None:
    """Let the listeners look at the model before the first step, which may take long.

    There is nothing to save yet, so a signal ends it: a process that is alone at once, several together where they
    agree on it, at the latest when all listeners have looked.

    Raises:
        Interrupted: A signal came.
    """
    interrupt, alone = session.interrupt, session.world.size == 1
    try:
        for listener in session.listeners:
            with interrupt.at_once() if alone else contextlib.nullcontext():
                listener.began(session)
        session.leave_if_asked()  # not after each of them: the main process has more than the others
    except Interrupted:
        step = session.state.step
        goes_on = f"`--resume` goes on from step {step}" if step else "`--resume` begins the run"
        session.say(f"stopped before step {step + 1}; {goes_on}")
        raise


def _steps(session: Session, news: News, last: int) -> None:
    """Steps until the last one, or until a rollback changes which batches are next."""
    with session.batches() as passes:
        waited = 0.0
        while session.state.step < last:
            outcome = session.step(passes)
            session.clock.waited += passes.waited - waited
            waited = passes.waited
            if not outcome.verdict.fine and _left_out(session, outcome):
                return
            _after_step(session, outcome, news, last)


def _after_step(session: Session, outcome: Outcome, news: News, last: int) -> None:
    """Do everything that is due after a step."""
    recipe, state, saver = session.recipe, session.state, session.saver
    stopping = state.step == last
    # The news of a step ago from any process: a failed checkpoint or a signal. The last step waits for its own news.
    failed, signal = news.hear((int(saver is not None and saver.failed), session.interrupt.signal or 0), stopping)
    if failed and saver is not None:
        saver.wait()
        raise OtherProcessError
    saves = saver is not None and (stopping or state.step % recipe.checkpoint.every_steps == 0 or signal > 0)
    logs = state.step % recipe.train.log_every == 0 or stopping or signal > 0
    if saves or stopping:
        session.check_weights()
    elif logs or not session.device.on_gpu:
        # A loss on a CPU is at hand; on a GPU the look waits for the step.
        session.settle()
        session.check_loss()
    if logs and outcome.verdict.fine:
        _log(session, outcome)
    for listener in session.listeners:
        listener.stepped(session, outcome)
    if saver is not None and saves:
        _save(session, saver)
    if signal:
        if saver is not None:
            saver.wait()
            session.say(f"saved step {state.step}; `--resume` goes on from here")
        raise Interrupted(signal)


def _left_out(session: Session, outcome: Outcome) -> bool:
    """Record a batch that was left out; returns whether the run went back to a checkpoint because of it."""
    state = session.state
    state.skipped += 1
    number = state.batch_number(state.step - 1)
    session.record(
        SkippedLine, reason=outcome.verdict.sentence, first_sequence=number * session.rows, sequences=session.rows,
        loss=_number(outcome.loss.item()), grad_norm=_number(outcome.norm.item()),
    )  # fmt: skip
    saver = session.saver
    if saver is None:
        return False
    saver.wait()
    checkpoints = session.world.first(lambda: list_checkpoints(saver.run))
    if session.recipe.stability.action != "rollback" or not checkpoints:
        return False
    _roll_back(session, outcome, *checkpoints[-1])
    return True


def _roll_back(session: Session, outcome: Outcome, to_step: int, path: Path) -> None:
    """Return to a checkpoint; the batches between it and now are left out.

    Raises:
        TrainError: The run has gone back to it too often.
        DataError: The batches that would take the place of those left out are more than `max_epochs` allows.
    """
    state, world = session.state, session.world
    from_step, reason = state.step, outcome.verdict.sentence
    bad_batch = state.batch_number(from_step - 1)
    session.returns += 1
    session.or_gives_up(lambda: session.monitor.check_returns(session.returns, to_step))
    saved = world.first(lambda: read_state(path))
    load_tensors(path, session.model, session.optimizer, world)
    passed_over = state.batch_number(from_step - 1) + 1 - saved.batch_number(to_step)
    state.step, state.shifts = to_step, [*saved.shifts, (to_step, passed_over)]
    last = state.batch_number(session.recipe.total_steps - 1) + 1
    session.agreed(lambda: check_epochs(session.feed, last, session.recipe))
    session.monitor = Monitor(session.recipe.stability, saved.history, session.monitor.recent)
    session.source_sums = None
    session.record(
        RollbackLine, from_step=from_step, to_step=to_step, batches=passed_over, reason=reason,
        first_sequence=bad_batch * session.rows, sequences=session.rows, loss=_number(outcome.loss.item()),
        grad_norm=_number(outcome.norm.item()),
    )  # fmt: skip


def _number(value: float) -> Number:
    """The number, or its name where JSON cannot hold it (`nan`, `inf`)."""
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _log(session: Session, outcome: Outcome) -> None:
    recipe, state, clock = session.recipe, session.state, session.clock
    session.settle()
    tokens = clock.n_steps * recipe.train.batch_tokens
    rate = tokens / clock.steps
    now = time.perf_counter()
    overall = (state.step - clock.first_step) * recipe.train.batch_tokens / (now - clock.began)
    flops = session.flops_per_token
    achieved = {name: flops[name] * rate for name in ("causal", "full")}
    session.device = session.device.at_rate(max(achieved.values()) / session.world.size)
    peak = session.device.peak_flops * session.world.size
    memory = session.world.largest(session.device.peak_memory_bytes())
    state.peak_memory_bytes = max(state.peak_memory_bytes, memory)
    names = session.feed.names
    nats_S, targets_S = ([], []) if session.source_sums is None else session.source_sums.tolist()
    of_sources = zip(names, nats_S, targets_S, strict=False)
    session.record(
        TrainLine,
        loss=outcome.loss.item(),
        lr=outcome.lr,
        grad_norm=outcome.norm.item(),
        tokens_per_second=rate,
        tokens_per_second_overall=overall,
        flops_per_second=achieved,
        mfu={name: value / peak for name, value in achieved.items()},
        data_wait=clock.waited / clock.steps,
        memory_bytes=memory,
        seconds=state.train_seconds,
        source_loss={name: nats / targets for name, nats, targets in of_sources if targets},
        source_tokens=session.tokens_by_source(),
        epochs=session.epochs_by_source(),
    )
    clock.steps = clock.waited = 0.0
    clock.n_steps, session.source_sums = 0, None


def _save(session: Session, saver: Saver) -> None:
    session.settle()
    state, clock = session.state, session.clock
    now = time.perf_counter()
    state.wall_seconds += now - clock.saved
    clock.saved = now
    state.history, state.recent = session.monitor.history, session.monitor.recent
    state.peak_flops = state.peak_flops | {session.device.name: session.device.peak_flops}
    seconds = saver.save(state, session.model, session.optimizer)
    session.returns = 0
    session.record(CheckpointLine, seconds=seconds, asynchronous=session.recipe.checkpoint.asynchronous)
