"""The head of a tuned run's page: one sentence, and the tiles with key figures, from before its first step to now."""

from puna.core.units import counted, format_carbon, format_count, format_duration, format_energy
from puna.report.figures import Tile, devices, last_device
from puna.report.read import RunRecords
from puna.report.tuned import heldout_rows, model_place
from puna.report.wording import wording
from puna.shards.split import TRAIN


def tuned_summary(run: RunRecords) -> str:
    """One sentence on the model, for the head of the page."""
    known, place = run.tuning, model_place(run)
    size = known.parameters if known else run.record.results.parameters if run.record else _parameters(run)
    text = f"A LLaMA of {format_count(size)} parameters, tuned"
    if place:
        text += f" from {place}"
    if known:
        kind = "pair" if _pairs(run) else "example"
        text += f" on {counted(sum(one.examples for one in known.counts if one.split == TRAIN), kind)}"
    if run.record is None:
        on = last_device(run)
        return f"{text}; {run.step:,} of {counted(run.total_steps, 'step')} are done{f', on {on}' if on else ''}."
    results = run.record.results
    on = devices(results.devices or 1, results.device)
    return f"{text}, in {format_duration(results.wall_seconds)} on {on}."


def tuned_tiles(run: RunRecords) -> list[Tile]:
    """The key figures, those on held-out examples first."""
    return [*_heldout(run), *_how_far(run), *_size(run), *_costs(run)]


def _heldout(run: RunRecords) -> list[Tile]:
    found, words = [], wording(run.config)
    for row in heldout_rows(run):
        before, now = (row.second_before, row.second) if _pairs(run) else (row.loss_before, row.loss)
        if now is None and before is None:
            continue
        form = _percent if _pairs(run) else _loss
        what = "of held-out pairs told apart" if _pairs(run) else f"loss on {words.heldout}"
        if now is None or before is None:
            note = "before the first step" if now is None else ""
        else:
            note = f"{form(before)} before tuning"
        rule = "50 % is chance" if _pairs(run) else "lower is better"
        shown = now if now is not None else before
        assert shown is not None  # noqa: S101 - one of them is known
        found.append(Tile(form(shown), f"{what}, {row.source}", "; ".join(filter(None, [note, rule]))))
    return found


def _how_far(run: RunRecords) -> list[Tile]:
    found = []
    if run.record is None and run.total_steps:
        share = f"step {run.step:,} of {run.total_steps:,}"
        found.append(Tile(_percent(run.step / run.total_steps), "of the run", share))
    if (known := run.tuning) is None:
        return found
    train = [one for one in known.counts if one.split == TRAIN]
    examples, tokens, targets = (sum(getattr(one, key) for one in train) for key in ("examples", "tokens", "targets"))
    read = sum(known.run.examples.values())
    kind = "pairs of answers" if _pairs(run) else "examples"
    times = f"read {read / examples:.3g} times in {counted(run.total_steps, 'step')}" if examples else ""
    found.append(Tile(f"{examples:,}", kind, times))
    if tokens:
        found.append(Tile(_percent(targets / tokens), "of their tokens are learned", f"{targets:,} of {tokens:,}"))
    return found


def _size(run: RunRecords) -> list[Tile]:
    known = run.tuning
    if known is None or known.learned == known.parameters:
        return [Tile(format_count(_parameters(run)), "parameters", "all of them learn" if known else "")]
    share = f"{100 * known.learned / known.parameters:.3g}\u00a0% of the model's {format_count(known.parameters)}"
    return [Tile(format_count(known.learned), "numbers learn", share)]


def _costs(run: RunRecords) -> list[Tile]:
    if run.record is None:
        seconds = run.train[-1].seconds if run.train else None
        return [] if seconds is None else [Tile(format_duration(seconds), "in optimizer steps", "over all sessions")]
    results = run.record.results
    steps = f"{format_duration(results.train_seconds)} of it in optimizer steps"
    energy = results.energy
    return [
        Tile(format_duration(results.wall_seconds), "tuning time", steps),
        Tile(format_energy(energy.kwh), "energy, estimated", f"{format_carbon(energy.kgco2eq)}, estimated"),
    ]


def _parameters(run: RunRecords) -> int:
    if run.record:
        return run.record.results.parameters
    return run.progress.parameters if run.progress else 0


def _pairs(run: RunRecords) -> bool:
    return run.config.finetune is not None and run.config.finetune.preference is not None


def _loss(value: float) -> str:
    return f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"
