"""`puna plan`: what a run will need, computed before it runs."""

from typing import TYPE_CHECKING

import typer

import puna
from puna.api.recipes import repeated_sources
from puna.cli.arguments import Overrides, RecipeName, Show, TunedModel, resolve
from puna.core.console import warn

if TYPE_CHECKING:
    from puna.plan.plan import Plan


def plan(
    recipe: RecipeName,
    overrides: Overrides = None,
    model: TunedModel = None,
    devices: int | None = typer.Option(
        None, "--devices", min=0, help="How many.  \\[default: the layout's]", show_default=False
    ),
    device: str = typer.Option(
        "a100", "--device", help="A GPU such as a100 or rtx-4090, cpu (this machine's), or FLOP/s."
    ),
    devices_per_node: int | None = typer.Option(
        None, "--devices-per-node", min=1, help="GPUs of one machine.  \\[default: 8]", show_default=False
    ),
    network_gbps: float | None = typer.Option(
        None,
        "--network-gbps",
        help="Gbit/s of each GPU to other machines.  \\[default: the maker's machines', such as 200 for A100]",
        show_default=False,
    ),
    mfu: float | None = typer.Option(
        None, "--mfu", help="Model FLOPs over the peak rate, such as 0.4.  \\[default: estimated]", show_default=False
    ),
    show: Show = False,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Print what a run will need: parameters, memory per device, FLOPs, days, disk, energy and carbon."""
    resolved = resolve(recipe, overrides, show)
    planned = puna.plan(
        resolved, model=model, devices=devices, device=device, devices_per_node=devices_per_node,
        network_gbps=network_gbps, mfu=mfu,
    )  # fmt: skip
    if as_json:
        import json

        print(json.dumps(planned.as_dict(), indent=2, allow_nan=False))
    else:
        print("\n".join(describe(planned)))
    for sentence in repeated_sources(resolved):
        warn(sentence)


def describe(plan: "Plan") -> list[str]:
    """The plan as lines for people."""
    rows: list[tuple[str, str, str]] = []
    for section in (_parameters, _work, _step, _traffic, _memory, _disk, _energy):
        if lines := section(plan):
            rows += [*lines, ("", "", "")]
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{name:<{names}}  {value:>{values}}  {remark}".rstrip() for name, value, remark in rows[:-1]]
    devices = f"{plan.share.devices} x {plan.target.name}" if plan.share.devices > 1 else plan.target.name
    return [f"{plan.recipe.name} on {devices}", "", *lines, *_what_to_change(plan)]


def _parameters(plan: "Plan") -> list[tuple[str, str, str]]:
    from puna.core.units import format_count
    from puna.plan.count import parameters

    counts = parameters(plan.recipe.model)
    rows = [(f"  {name.replace('_', ' ')}", format_count(count), "") for name, count in vars(counts).items()]
    if not (learning := plan.share.learning).everything:
        how = f"rank {learning.lora.rank}" if learning.lora is not None else "of the model's own"
        rows.append(("  learn", format_count(learning.size), how))
    return [("parameters", format_count(counts.total), ""), *rows]


def _work(plan: "Plan") -> list[tuple[str, str, str]]:
    from puna.core.units import format_count, format_duration

    recipe, speed, target = plan.recipe, plan.speed, plan.target
    passes = "1 pass each" if plan.share.passes == 1 else f"{plan.share.passes} passes each"
    steps = f"{recipe.total_steps} steps" if plan.tokens is not None else "steps"
    batch = f"{steps} of {recipe.train.batch_tokens}, {passes}"
    meanings = {"full": "with all scores of attention", "causal": "half of them", "param": "without attention"}
    on_each = format_count(speed.tokens_per_second / plan.share.devices)
    per_token = plan.share.flops_per_token
    unit, scale = ("TFLOP/s", 1e12) if target.peak_flops >= 1e12 else ("GFLOP/s", 1e9)
    rate = f"{target.peak_flops / scale:.3g} {unit} each, {target.peak_source}"
    length = [("time", "unknown", "follows from the examples; train.tokens=10M plans for that number")]
    if plan.tokens is not None and speed.seconds is not None:
        length = [("time", format_duration(speed.seconds), "without validation, checkpoints and failures")]
    if speed.reference_seconds is not None:
        length.append(("  before the first step", format_duration(speed.reference_seconds), "the reference model"))
    tokens, run = plan.tokens, []
    if tokens is not None:
        run = [("FLOPs of the run, causal", f"{per_token['causal'] * tokens:.3e}", "")]
    return [
        ("tokens", "unknown" if tokens is None else format_count(tokens), batch),
        *((f"FLOPs per token, {name}", f"{per_token[name]:.3e}", meaning) for name, meaning in meanings.items()),
        *run,
        ("utilisation (MFU)", f"{speed.mfu:.1%}", f"{speed.mfu_source}; of {rate}"),
        ("tokens/s", format_count(speed.tokens_per_second), f"{on_each} on each device"),
        *length,
    ]  # fmt: skip


def _step(plan: "Plan") -> list[tuple[str, str, str]]:
    if (step := plan.speed.step) is None:
        return []
    passes = plan.share.passes
    each = f"{_duration(step.seconds / passes)} for each of {passes} passes" if passes > 1 else "1 pass"
    rows = [("optimizer step", _duration(step.seconds), each)]
    rows += [(f"  {part.name}", _duration(part.seconds), f"{part.seconds / step.seconds:.1%}") for part in step.parts]
    waiting = step.exposed_seconds
    if step.traffic:
        rows.append(("  waiting for other devices", _duration(waiting), f"{waiting / step.seconds:.1%}"))
    return rows


def _traffic(plan: "Plan") -> list[tuple[str, str, str]]:
    """The messages of each device in a step."""
    from puna.core.units import format_bytes

    step, links = plan.speed.step, plan.target.links
    if step is None or links is None or not step.traffic:
        return []
    total = sum(kind.node_bytes + kind.network_bytes for kind in step.traffic)
    network = f"network of {links.network.bytes_per_s * 8 / 1e9:g} Gbit/s"
    about = f"per device and step; {links.node_devices} in a machine by {links.node.name}, beyond it {network} each"
    rows = [("traffic", format_bytes(round(total)), about)]
    for kind in step.traffic:
        over = {links.node.name: kind.node_bytes, "the network": kind.network_bytes}
        used = {link: size for link, size in over.items() if size}
        ways = [f"over {link}" for link in used]
        if len(used) > 1:
            ways = [f"{format_bytes(round(size))} over {link}" for link, size in used.items()]
        time = f"{_duration(kind.seconds)}, {_duration(kind.exposed_seconds)} of it waited for"
        rows.append((f"  {kind.name}", format_bytes(round(sum(used.values()))), f"{', '.join(ways)}; {time}"))
    return rows


def _duration(seconds: float) -> str:
    """The duration of a part of a step: in milliseconds below one second."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _memory(plan: "Plan") -> list[tuple[str, str, str]]:
    from puna.core.units import format_bytes

    share, peak, there = plan.share, plan.memory.peak, plan.target.memory_bytes
    layout = ", ".join(
        f"{count} {name}"
        for name, count in (
            ("replicas", share.replicate), ("shards", share.shard), ("context", share.context), ("tensor", share.tensor)
        )
        if count > 1
    )  # fmt: skip
    train = plan.recipe.train
    how = f"{train.precision}, recompute {train.recompute}" + (f"; {layout}" if layout else "")
    verdict = f"{plan.verdict}: {format_bytes(there)} there" if there else "the device's memory is unknown"
    rows = [("memory per device", format_bytes(peak.bytes), f"{verdict}; {how}; most at: {peak.name}")]
    rows += [(f"  {term.name}", format_bytes(term.bytes), "") for term in peak.terms if term.bytes]
    if plan.memory.staged_bytes:
        text = "per device, for the checkpoint that is being written"
        rows.append(("memory of the host", format_bytes(plan.memory.staged_bytes), text))
    return rows


def _disk(plan: "Plan") -> list[tuple[str, str, str]]:
    from puna.core.units import format_bytes

    disk = plan.disk
    return [
        ("disk", format_bytes(disk.total), "while the last checkpoint is written"),
        ("  model", format_bytes(disk.model), ""),
        ("  one checkpoint", format_bytes(disk.checkpoint), f"{disk.kept} stay"),
        *_tokens_on_disk(plan),
    ]


def _tokens_on_disk(plan: "Plan") -> list[tuple[str, str, str]]:
    from puna.core.units import format_bytes

    if plan.recipe.finetune is None:
        return [("  token shards", format_bytes(plan.disk.shards), "if the run reads no token twice")]
    return [("  examples as tokens", format_bytes(plan.disk.shards), "of an epoch")] if plan.disk.shards else []


def _energy(plan: "Plan") -> list[tuple[str, str, str]]:
    from puna.core.units import format_carbon, format_count, format_energy

    if plan.speed.seconds is None:
        return [("energy", "unknown", "as the time is")]
    if plan.energy is None or plan.target.watts is None:
        return [("energy", "unknown", "give the device's power with energy.device_watts=400")]
    config, hours = plan.recipe.energy, plan.speed.seconds * plan.share.devices / 3600
    watts = f"{plan.target.watts:g} W ({plan.target.watts_source})"
    return [
        ("energy", format_energy(plan.energy[0]), f"{format_count(hours)} device hours x {watts} x PUE {config.pue:g}"),
        ("carbon", format_carbon(plan.energy[1]), f"{config.carbon_intensity:g} kg CO2eq per kWh (LLaMA, section 6)"),
    ]


def _what_to_change(plan: "Plan") -> list[str]:
    from puna.core.units import format_bytes
    from puna.plan.changes import changes

    if plan.verdict in ("", "fits"):
        return []
    ways = []
    for way in changes(plan):
        known = [format_bytes(way.bytes), f"MFU {way.mfu:.1%}" if way.mfu else "", way.remark]
        ways.append(f"  {way.words}  ({', '.join(filter(None, known))})")
    found = ways or ["  nothing that was tried: a smaller model, or devices with more memory"]
    return ["", "what would fit, cheapest in speed first:", *found]
