"""The end of a run: the plain model and the record."""

import statistics
import time
from collections.abc import Callable

from puna.core.files import sha256_json
from puna.core.layout import RunDir
from puna.core.metrics import read_metrics
from puna.core.records import Record
from puna.core.schema.run import Final, TrainResults, Utilisation
from puna.core.units import format_bytes, format_count, format_duration
from puna.model.parts import whole
from puna.plan.count import parameters
from puna.train.energy import estimate_energy
from puna.train.session import Session
from puna.train.validate import Validation


def save_whole(session: Session, save: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Save the model tensor by tensor from all devices: the main process by `save`, and the others help to gather.

    Returns:
        What `save` returns; nothing on the other processes.
    """
    if session.world.main:
        return save()
    # The main process gathers the tensors in this order.
    for parameter in session.model.parameters():
        whole(parameter)
    return {}


def finish(session: Session, run: RunDir, record: Record, final: Validation) -> None:
    """Write the record, which ends the run; its outputs are those of the saved model."""
    state = session.state
    if not session.world.main:
        session.device.measured_again()
        return
    state.wall_seconds += time.perf_counter() - session.clock.saved
    results = _results(session, run, record, final)
    record.results = results.model_dump()
    record.write(run.record)
    place = run.model if run.has_model else run.adapter
    session.say(
        f"trained {format_count(session.tokens)} tokens in {format_duration(state.wall_seconds)} at "
        f"{format_count(results.tokens_per_second)} tokens/s, {results.mfu.causal:.0%} of the peak rate, "
        f"{format_bytes(results.peak_memory_bytes)} of memory; the model is in {place}"
    )


def _results(session: Session, run: RunDir, record: Record, final: Validation) -> TrainResults:
    """The figures of the whole run, over all its sessions."""
    recipe, state, tokens = session.recipe, session.state, session.tokens
    device, size = session.device.measured_again(), session.world.size
    rates = [line["tokens_per_second"] for line in read_metrics(run.metrics) if line["kind"] == "train"]
    rate = statistics.median(rates) if rates else tokens / state.train_seconds
    peak = device.peak_flops * size
    flops = session.flops_per_token
    return TrainResults(
        parameters=parameters(recipe.model).total,
        tokens=tokens,
        steps=state.step,
        skipped_steps=state.skipped,
        shifts=[list(shift) for shift in state.shifts],
        train_seconds=state.train_seconds,
        wall_seconds=state.wall_seconds,
        goodput=state.train_seconds / state.wall_seconds,
        tokens_per_second=rate,
        tokens_per_second_overall=tokens / state.wall_seconds,
        peak_memory_bytes=max(state.peak_memory_bytes, device.peak_memory_bytes()),
        devices=size,
        layout=session.mesh.describe(),
        device=device.name,
        device_flops=device.peak_flops,
        device_flops_source=device.peak_source,
        mfu=Utilisation(**{name: value * rate / peak for name, value in flops.items()}),
        energy=estimate_energy(state.wall_seconds, device, recipe.energy, size),
        sessions=state.sessions,
        source_tokens=session.tokens_by_source(),
        epochs=session.epochs_by_source(),
        final=Final(loss=final.loss, bits_per_byte=final.bits_per_byte),
        recipe_sha256=sha256_json(record.config),
        lineage=state.lineage,
    )
