"""The figures of a report: the tiles at its top, what is known about speed and energy, and the held-out text.

A finished run has them in its record; of a run that is not finished, they come from its metrics and its newest
checkpoint, and say so.
"""

import statistics
from dataclasses import dataclass

from puna.core.schema.run import TrainResults, Utilisation
from puna.core.units import counted, format_bytes, format_carbon, format_count, format_duration, format_energy
from puna.report.read import Progress, RunRecords
from puna.report.wording import wording

Fact = tuple[str, str]
"""What it is, and a sentence or a figure."""


@dataclass(frozen=True)
class Tile:
    """A key figure at the top of the page, with what it is."""

    number: str
    what: str
    note: str
    """A few words more, in small letters."""


@dataclass(frozen=True)
class Heldout:
    """The last figures on held-out text, by source."""

    where: str
    """On what text, and when."""
    bits_per_byte: dict[str, float]
    loss: dict[str, float]
    """In nats per token, also by source."""


def heldout(run: RunRecords) -> Heldout | None:
    """The last validation; None before there is one."""
    what = wording(run.config).heldout
    if run.record:
        final = run.record.results.final
        return Heldout(f"all {what}, at the end", final.bits_per_byte, final.loss)
    if not run.validations:
        return None
    line = run.validations[-1]
    # A run that is tuned is validated on all of it before its first step.
    whole = line.final or (line.step == 0 and run.config.finetune is not None)
    text = f"all {what}" if whole else f"a part of the {what}"
    return Heldout(f"{text}, at step {line.step:,}", line.bits_per_byte, line.loss)


def summary(run: RunRecords) -> str:
    """One sentence on the model, for the head of the page."""
    if run.record:
        results = run.record.results
        return (
            f"A LLaMA of {format_count(results.parameters)} parameters, trained on {format_count(results.tokens)} "
            f"tokens in {format_duration(results.wall_seconds)} on {devices(results.devices or 1, results.device)}."
        )
    batch, size = run.config.train.batch_tokens, format_count(run.progress.parameters if run.progress else 0)
    return (
        f"A LLaMA of {size} parameters, trained so far on {format_count(run.step * batch)} of "
        f"{format_count(run.total_steps * batch)} tokens" + (f" on {on}." if (on := last_device(run)) else ".")
    )


def devices(number: int, name: str) -> str:
    """The devices of a run: `8 x NVIDIA H100`, and the name alone where there is one."""
    return name if number == 1 else f"{number:,} x {name}"


def tiles(run: RunRecords) -> list[Tile]:
    """The key figures, those on held-out text first."""
    found, measured = [], heldout(run)
    for source, bits in (measured.bits_per_byte if measured else {}).items():
        where = "all held-out text" if run.record else measured.where if measured else ""
        found.append(Tile(f"{bits:.3f}", f"bits per byte, {source}", f"{where}; lower is better"))
    shape = run.config.model
    layers = f"{counted(shape.n_layers, 'layer')}, width {shape.dim:,}"
    if run.record:
        found += _tiles_at_the_end(run.record.results, layers)
    if run.progress:
        found += _tiles_so_far(run, run.progress, layers)
    return found


def _tiles_at_the_end(results: TrainResults, layers: str) -> list[Tile]:
    mfu, energy = results.mfu, results.energy
    share = "which was measured too low: see Speed and energy"
    if mfu.causal <= 1:
        share = f"causal attention counted; {_percent(mfu.full)} with all of it"
    return [
        Tile(format_count(results.parameters), "parameters", layers),
        Tile(format_count(results.tokens), "tokens", f"in {counted(results.steps, 'optimizer step')}"),
        Tile(
            format_duration(results.wall_seconds),
            "training time",
            f"{format_duration(results.train_seconds)} of it in optimizer steps",
        ),
        Tile(format_count(results.tokens_per_second), "tokens per second", "median of the optimizer steps"),
        Tile(_percent(mfu.causal), "of the device's rate (MFU)", share),
        Tile(format_energy(energy.kwh), "energy, estimated", f"{format_carbon(energy.kgco2eq)}, estimated"),
    ]


def _tiles_so_far(run: RunRecords, done: Progress, layers: str) -> list[Tile]:
    batch, total = run.config.train.batch_tokens, run.total_steps
    found = [
        Tile(_percent(done.step / max(total, 1)), "of the run", f"step {done.step:,} of {total:,}"),
        Tile(format_count(done.parameters), "parameters", layers),
        Tile(
            format_count(done.step * batch),
            "tokens",
            f"in {counted(done.step, 'optimizer step')}, of {format_count(total * batch)}",
        ),
    ]
    if run.train:
        found.append(Tile(format_count(_rate(run)), "tokens per second", "median of the logged steps"))
        if run.train[-1].seconds is not None:
            found.append(Tile(format_duration(run.train[-1].seconds), "in optimizer steps", "over all sessions"))
        if shares := [line.mfu["causal"] for line in run.train if "causal" in line.mfu]:
            share = _percent(statistics.median(shares))
            found.append(Tile(share, "of the device's rate (MFU)", "median of the logged steps, causal attention"))
    return found


def speed(run: RunRecords) -> list[Fact]:
    """What is known about speed, time, memory and energy."""
    return _speed_at_the_end(run, run.record.results) if run.record else _speed_so_far(run)


def _speed_at_the_end(run: RunRecords, results: TrainResults) -> list[Fact]:
    energy = results.energy
    flops = f"{format_count(results.device_flops / 1e9)} GFLOP/s ({results.device_flops_source})"
    return [
        ("Device", f"{devices(results.devices or 1, results.device)}, {flops}"),
        (
            "Throughput",
            f"{format_count(results.tokens_per_second)} tokens/s in optimizer steps (median), "
            f"{format_count(results.tokens_per_second_overall)} with validation, samples and checkpoints"
            f"{_padding(run)}",
        ),
        ("Share of the device's rate (MFU)", _utilisation(results.mfu) + _counted_as(run)),
        ("Peak memory", format_bytes(results.peak_memory_bytes)),
        (
            "Time",
            f"{format_duration(results.wall_seconds)} in {counted(results.sessions, 'session')}, "
            f"{format_duration(results.train_seconds)} of it in optimizer steps",
        ),
        *_checkpoints(run),
        (
            "Energy, estimated",
            f"{format_energy(energy.kwh)} = {format_duration(results.wall_seconds)} × {energy.watts:.4g} W × "  # noqa: RUF001
            f"{energy.pue}. The power is not a measurement ({energy.watts_source}); {energy.pue} is the power usage "
            "effectiveness.",
        ),
        (
            "Carbon, estimated",
            f"{format_carbon(energy.kgco2eq)} = {format_energy(energy.kwh)} × {energy.carbon_intensity} kgCO2eq per "  # noqa: RUF001
            "kWh, by the method of LLaMA (Touvron et al. 2023, section 6)",
        ),
    ]


def _speed_so_far(run: RunRecords) -> list[Fact]:
    found: list[Fact] = [("Device", device)] if (device := last_device(run)) else []
    if run.train:
        line = run.train[-1]
        overall = ""
        if line.tokens_per_second_overall is not None:
            rate = format_count(line.tokens_per_second_overall)
            overall = f", {rate} with validation, samples and checkpoints in the last session"
        found.append(
            ("Throughput", f"{format_count(_rate(run))} tokens/s in optimizer steps (median){overall}{_padding(run)}")
        )
        if memory := max((line.memory_bytes or 0 for line in run.train), default=0):
            found.append(("Peak memory", format_bytes(memory)))
        if line.seconds is not None:
            found.append(("Time", f"{format_duration(line.seconds)} in optimizer steps, over all sessions"))
    found += _checkpoints(run)
    return [*found, ("Energy", "Estimated when the run is finished, from the time of all its sessions.")]


def _checkpoints(run: RunRecords) -> list[Fact]:
    if not run.checkpoints:
        return []
    seconds = format_duration(sum(line.seconds for line in run.checkpoints))
    return [("Checkpoints", f"{len(run.checkpoints):,}; training stood still for {seconds} in all")]


def _utilisation(mfu: Utilisation) -> str:
    text = (
        f"{100 * mfu.causal:.1f} % counting the attention scores that a causal model needs, {100 * mfu.full:.1f} % "
        f"counting all of them (PaLM's convention), {100 * mfu.param:.1f} % counting none"
    )
    if mfu.causal <= 1:
        return text
    return (
        f"{text}. More than 100 % says that the device's rate came out too low when it was measured before training, "
        "so these shares mean nothing"
    )


def _padding(run: RunRecords) -> str:
    """What the rate of a tuned run counts."""
    if run.config.finetune is None:
        return ""
    filled = run.tuning.run.filled if run.tuning else None
    return "; padding included" + ("" if filled is None else f", tokens are {100 * filled:.1f} % of it")


def _counted_as(run: RunRecords) -> str:
    """How the shares of a tuned run are to be taken."""
    if run.config.finetune is None:
        return ""
    return (
        ". It is counted as in pre-training, as if each sequence were one text and all parameters learned: packed "
        "examples and frozen parameters need less, so the device did less than that"
    )


def _rate(run: RunRecords) -> float:
    return statistics.median(line.tokens_per_second for line in run.train)


def last_device(run: RunRecords) -> str:
    """The devices of the last session; empty where nothing names them."""
    return devices(run.sessions[-1].devices, run.sessions[-1].device) if run.sessions else ""


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"
